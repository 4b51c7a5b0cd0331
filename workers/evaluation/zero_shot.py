"""Pretrained models as baselines: they forecast without training, from weights in a folder that the user has.

Nothing is downloaded. A specification says which: ``chronos:/path/to/folder`` (Chronos, Chronos-Bolt and Chronos-2, as
`save_pretrained` writes them), ``timesfm:/path/to/folder`` (TimesFM 2.5, a folder with ``model.safetensors``), or
``package.module:factory``, a function that takes nothing and returns a `Baseline`. They run on the CPU: trainings use
the GPUs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.time_grid import Frequency, Stamps
from castpool.workers.evaluation.baselines import FORECAST, future_grid

if TYPE_CHECKING:
    from castpool.workers.evaluation.baselines import Baseline

# Series in one pass through a model: what a CPU's memory holds for a model of 200 million weights.
BATCH_SERIES = 64
# The longest context and horizon of TimesFM 2.5 together are 16384; a CPU takes seconds a series for all of it.
TIMESFM_CONTEXT = 1024
# TimesFM predicts a mean and then the deciles 0.1 to 0.9: the columns of each level's bounds.
TIMESFM_BOUNDS = {20: (4, 6), 40: (3, 7), 60: (2, 8), 80: (1, 9)}
TIMESFM_MEDIAN = 5


class ChronosBaseline:
    """A pretrained model of `chronos-forecasting`; the point forecast is its median.

    Levels beyond the quantiles that the model was trained on are left out: Chronos-Bolt goes to 80 %.

    Raises:
        InputError: the package is not installed, or the folder holds no such model.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = f"chronos:{path}"
        _require_package("chronos", "chronos-forecasting", self.name)
        folder = _require_folder(path, "config.json", self.name)
        from chronos import BaseChronosPipeline

        try:
            self._pipeline: Any = BaseChronosPipeline.from_pretrained(str(folder), local_files_only=True)
        except (ValueError, OSError) as error:
            raise InputError("baselines", repr(self.name), f"write the folder of a Chronos model: {error}.") from error

    def forecast(self, history: pd.DataFrame, horizon: int, freq: Frequency, levels: Sequence[int]) -> pd.DataFrame:
        """Forecast as `Baseline.forecast` says."""
        import torch

        bounds = {level: bound for level in levels if (bound := _quantiles_of(level))[0] >= self._smallest_quantile}
        wanted = sorted({0.5, *(quantile for pair in bounds.values() for quantile in pair)})
        parts = []
        for batch in _batches(history):
            inputs = [torch.tensor(values, dtype=torch.float32) for values in batch]
            quantiles, _ = self._pipeline.predict_quantiles(inputs, prediction_length=horizon, quantile_levels=wanted)
            # Chronos-2 returns a list of (variates, horizon, quantiles), the others one (series, horizon, quantiles).
            parts.append(np.concatenate([np.asarray(one).reshape(-1, horizon, len(wanted)) for one in quantiles]))
        predicted = np.concatenate(parts)
        columns = {FORECAST: predicted[..., wanted.index(0.5)]}
        for level, (low, high) in bounds.items():
            columns |= {f"{FORECAST}-lo-{level}": predicted[..., wanted.index(low)]}
            columns |= {f"{FORECAST}-hi-{level}": predicted[..., wanted.index(high)]}
        return _to_frame(history, horizon, freq, columns)

    @property
    def _smallest_quantile(self) -> float:
        """The smallest quantile that the model was trained on; the first Chronos draws samples, of any quantile."""
        return float(min(getattr(self._pipeline, "quantiles", [0.0])))


class TimesFMBaseline:
    """TimesFM 2.5 of the package `timesfm`; the point forecast is its median. Levels are 20, 40, 60 and 80.

    Raises:
        InputError: the package is not installed, or the folder holds no such model.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = f"timesfm:{path}"
        _require_package("timesfm", "'timesfm>=2.5'", self.name)
        folder = _require_folder(path, "model.safetensors", self.name)
        import timesfm

        try:
            # Compiling pays off for many more forecasts than a comparison takes.
            self._model: Any = timesfm.TimesFM_2p5_200M_torch.from_pretrained(
                str(folder), local_files_only=True, torch_compile=False
            )
        except (AttributeError, RuntimeError, ValueError, OSError) as error:
            remedy = f"write the folder of a TimesFM 2.5 model: {error}."
            raise InputError("baselines", repr(self.name), remedy) from error

    def forecast(self, history: pd.DataFrame, horizon: int, freq: Frequency, levels: Sequence[int]) -> pd.DataFrame:
        """Forecast as `Baseline.forecast` says."""
        import timesfm

        lengths = Stamps.of(history).lengths
        self._model.compile(
            timesfm.ForecastConfig(
                max_context=min(int(lengths.max()), TIMESFM_CONTEXT),
                max_horizon=horizon,
                normalize_inputs=True,
                per_core_batch_size=min(len(lengths), BATCH_SERIES),
                # Nonnegative for nonnegative data, which the other baselines do not assume either.
                infer_is_positive=False,
                fix_quantile_crossing=True,
            )
        )
        inputs = [values for batch in _batches(history) for values in batch]
        _, quantiles = self._model.forecast(horizon=horizon, inputs=inputs)
        columns = {FORECAST: quantiles[..., TIMESFM_MEDIAN]}
        for level in (level for level in levels if level in TIMESFM_BOUNDS):
            low, high = TIMESFM_BOUNDS[level]
            columns |= {f"{FORECAST}-lo-{level}": quantiles[..., low], f"{FORECAST}-hi-{level}": quantiles[..., high]}
        return _to_frame(history, horizon, freq, columns)


ADAPTERS: dict[str, Callable[[str], Baseline]] = {"chronos": ChronosBaseline, "timesfm": TimesFMBaseline}


def load_zero_shot(specification: str) -> Baseline:
    """Return the pretrained model of a specification, as ``chronos:/path/to/folder`` or ``package.module:factory``.

    Raises:
        InputError: the package is not installed, the folder or the function is missing, or it returns no baseline.
    """
    kind, _, rest = specification.partition(":")
    if (adapter := ADAPTERS.get(kind)) is not None:
        return adapter(rest)
    usage = "write chronos:FOLDER, timesfm:FOLDER or package.module:factory"
    try:
        factory = getattr(importlib.import_module(kind), rest)
        baseline: Baseline = factory()
    except InputError:
        raise
    except Exception as error:  # a module may raise anything when it is imported, and a factory when it is called
        raise InputError("baselines", repr(specification), f"{usage}; {error}.") from error
    if not callable(getattr(baseline, "forecast", None)) or not isinstance(getattr(baseline, "name", None), str):
        raise InputError("baselines", repr(specification), "return an object with a name and a method forecast.")
    return baseline


def _require_package(module: str, package: str, specification: str) -> None:
    if find_spec(module) is None:
        raise InputError("baselines", repr(specification), f"install the package of that model: pip install {package}.")


def _require_folder(path: str | Path, file: str, specification: str) -> Path:
    folder = Path(path).expanduser()
    # An empty path is the current directory, which is hardly meant.
    if not str(path) or not (folder / file).is_file():
        raise InputError("baselines", repr(specification), f"write a folder that exists and holds {file}.")
    return folder


def _batches(history: pd.DataFrame) -> Iterator[list[npt.NDArray[np.float64]]]:
    """Yield the values of the series, `BATCH_SERIES` of them at once."""
    stamps = Stamps.of(history)
    series = np.split(history["y"].to_numpy(dtype=np.float64), stamps.starts[1:])
    for start in range(0, len(series), BATCH_SERIES):
        yield series[start : start + BATCH_SERIES]


def _quantiles_of(level: int) -> tuple[float, float]:
    """Return the quantiles at the bounds of a level; rounded, so that 80 gives 0.1 and not 0.0999."""
    return round(0.5 - level / 200, 6), round(0.5 + level / 200, 6)


def _to_frame(
    history: pd.DataFrame, horizon: int, freq: Frequency, columns: dict[str, npt.NDArray[np.float64]]
) -> pd.DataFrame:
    flat = {name: np.asarray(values, dtype=np.float64).ravel() for name, values in columns.items()}
    return future_grid(history, horizon, freq).assign(**flat)
