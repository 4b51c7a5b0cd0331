"""Tune NeuralForecast's Auto models with a pool of workers that share one Optuna study in PostgreSQL.

    import castpool

    result = castpool.tune(frame, model="NHITS", horizon=12, trials=20)
    result.neuralforecast.predict()
    result.backtest(windows=3)

Each name is loaded at its first use: the import itself takes milliseconds. `castpool.errors` shows the tree of
exceptions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from castpool.errors import CastpoolError as CastpoolError
    from castpool.sampler_policies.errors import InputError as InputError
    from castpool.storage.errors import ArtifactURLError as ArtifactURLError
    from castpool.storage.errors import EmbeddedServerError as EmbeddedServerError
    from castpool.storage.errors import SchemaVersionError as SchemaVersionError
    from castpool.storage.errors import StorageError as StorageError
    from castpool.storage.errors import StorageUnreachableError as StorageUnreachableError
    from castpool.storage.errors import StorageURLError as StorageURLError
    from castpool.storage.errors import StudyConflictError as StudyConflictError
    from castpool.storage.errors import StudyNotFoundError as StudyNotFoundError
    from castpool.storage.store import open_store as open_store
    from castpool.workers.backtest import backtest as backtest
    from castpool.workers.mlflow_tracking.client import TrackingError as TrackingError
    from castpool.workers.pool.forked_call import ForkedCallError as ForkedCallError
    from castpool.workers.pool.process_pool import PoolError as PoolError
    from castpool.workers.results.result import NoResultError as NoResultError
    from castpool.workers.results.result import Result as Result
    from castpool.workers.spec.study_spec import StudySpec as StudySpec
    from castpool.workers.support.signals import StoppedError as StoppedError
    from castpool.workers.tune import tune as tune

    __version__: str

_MODULES = {
    "ArtifactURLError": "castpool.storage.errors",
    "CastpoolError": "castpool.errors",
    "EmbeddedServerError": "castpool.storage.errors",
    "ForkedCallError": "castpool.workers.pool.forked_call",
    "InputError": "castpool.sampler_policies.errors",
    "NoResultError": "castpool.workers.results.result",
    "PoolError": "castpool.workers.pool.process_pool",
    "Result": "castpool.workers.results.result",
    "SchemaVersionError": "castpool.storage.errors",
    "StoppedError": "castpool.workers.support.signals",
    "StorageError": "castpool.storage.errors",
    "StorageURLError": "castpool.storage.errors",
    "StorageUnreachableError": "castpool.storage.errors",
    "StudyConflictError": "castpool.storage.errors",
    "StudyNotFoundError": "castpool.storage.errors",
    "StudySpec": "castpool.workers.spec.study_spec",
    "TrackingError": "castpool.workers.mlflow_tracking.client",
    "backtest": "castpool.workers.backtest",
    "open_store": "castpool.storage.store",
    "tune": "castpool.workers.tune",
}

__all__ = [  # what `_MODULES` has, and the version; the test of the public API compares them
    "ArtifactURLError",
    "CastpoolError",
    "EmbeddedServerError",
    "ForkedCallError",
    "InputError",
    "NoResultError",
    "PoolError",
    "Result",
    "SchemaVersionError",
    "StoppedError",
    "StorageError",
    "StorageURLError",
    "StorageUnreachableError",
    "StudyConflictError",
    "StudyNotFoundError",
    "StudySpec",
    "TrackingError",
    "__version__",
    "backtest",
    "open_store",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("castpool")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
