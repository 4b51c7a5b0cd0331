"""Python objects that a user passes to `tune` and that a spec cannot express, such as a custom loss.

They are sent to the local workers as cloudpickle bytes through a pipe, never through the storage: castpool unpickles
nothing that a database holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import cloudpickle
import optuna


@dataclass(frozen=True)
class PythonObjects:
    """Python objects that replace what the spec names; None means that the spec's value is used."""

    loss: Any = None
    valid_loss: Any = None
    config: Callable[[optuna.trial.BaseTrial], dict[str, Any]] | None = None
    sampler: optuna.samplers.BaseSampler | None = None
    pruner: optuna.pruners.BasePruner | None = None

    @property
    def names(self) -> list[str]:
        """The names of the objects that a worker needs to work on the study."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]


def pack_objects(objects: Mapping[str, PythonObjects]) -> bytes:
    """Return each study's objects, by its name, as bytes for a process of this user on this machine."""
    data: bytes = cloudpickle.dumps(dict(objects))
    return data


def unpack_objects(data: bytes) -> dict[str, PythonObjects]:
    """Return the objects that another process of this user has packed."""
    objects: dict[str, PythonObjects] = cloudpickle.loads(data)
    assert all(isinstance(given, PythonObjects) for given in objects.values())
    return objects
