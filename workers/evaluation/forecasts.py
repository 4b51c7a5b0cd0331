"""The forecasts of one evaluation: a configuration trained up to an origin, and the windows after it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.parquet as pq
import pytorch_lightning as pl

from castpool.private_api.optuna import ArtifactStore
from castpool.workers.evaluation.windows import Windows
from castpool.workers.spec.job import Job
from castpool.workers.training.fast_step_callback import FastStepCallback
from castpool.workers.training.fit import build_untrained, prediction_intervals, stopping_at

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

KEYS = ("unique_id", "ds", "cutoff")
FORECAST = "forecast"


def forecast_windows(
    job: Job,
    config: Mapping[str, Any],
    step: int,
    seed: int,
    windows: Windows,
    is_stopped: Callable[[int], bool],
    callbacks: Sequence[pl.Callback] = (),
    levels: Sequence[int] = (),
) -> pd.DataFrame:
    """Train a configuration on what is before the origin, and forecast the windows after it.

    Args:
        job: of the study.
        config: the model's arguments.
        step: the last training step.
        seed: the random seed of the training.
        windows: the origin, and the windows after it.
        is_stopped: takes the training step after each batch, and returns whether to stop at once.
        callbacks: more of Lightning's callbacks for the training.
        levels: of conformal intervals, in percent; they take a second training.

    Returns:
        ``unique_id``, ``ds``, ``cutoff`` (the last time that the forecast has seen) and the forecast's columns, without
        the model's name (`remove_alias`); horizon rows for each series and window. No rows where a SIGTERM ended the
        training.
    """
    from neuralforecast import NeuralForecast

    model = build_untrained(job, config, random_seed=seed)
    fitted = NeuralForecast(models=[model], freq=job.series.freq)
    frame = job.series.without_newest(windows.remaining).frame
    fast = FastStepCallback(job.spec.disable)
    predicted: pd.DataFrame | None = None
    with contextlib.redirect_stdout(io.StringIO()), stopping_at(fitted, 0, step, is_stopped, [*callbacks, fast]):
        if levels:
            predicted = _with_intervals(job, fitted, frame, windows, levels)
        else:
            predicted = fitted.cross_validation(
                frame,
                static_df=job.series.static,
                n_windows=None,
                test_size=windows.size,
                step_size=windows.distance,
                val_size=0,
            ).drop(columns="y")
    if predicted is None:  # a SIGTERM ended the training: it is a stop request, which the caller has too
        return pd.DataFrame(columns=[*KEYS, FORECAST])
    return remove_alias(predicted, repr(model))


def _with_intervals(
    job: Job, fitted: NeuralForecast, frame: pd.DataFrame, windows: Windows, levels: Sequence[int]
) -> pd.DataFrame:
    """Return what `forecast_windows` does, with the name of the model: one fit before the origin, then the windows."""
    left = frame.groupby("unique_id", sort=False).cumcount(ascending=False)
    fitted.fit(
        frame[left >= windows.size],
        static_df=job.series.static,
        prediction_intervals=prediction_intervals(job),
        use_init_models=True,
    )
    predicted = []
    for window in range(windows.count(job.spec.horizon)):
        ahead = windows.size - window * windows.distance
        is_known, is_ahead = left >= ahead, (left < ahead) & (left >= ahead - job.spec.horizon)
        futr = frame.loc[is_ahead, ["unique_id", "ds", *job.spec.futr_exog]] if job.spec.futr_exog else None
        forecast = fitted.predict(df=frame[is_known], static_df=job.series.static, futr_df=futr, level=list(levels))
        cutoffs = frame[is_known].groupby("unique_id", sort=False)["ds"].max()
        forecast.insert(2, "cutoff", forecast["unique_id"].map(cutoffs))
        predicted.append(forecast)
    forecasts: pd.DataFrame = pd.concat(predicted, ignore_index=True)
    return forecasts


def remove_alias(frame: pd.DataFrame, alias: str) -> pd.DataFrame:
    """Return a forecast with ``forecast`` in place of the model's name in its columns, as ``forecast-lo-80``."""
    renamed = {name: f"{FORECAST}{name.removeprefix(alias)}" for name in frame.columns if name not in KEYS}
    return frame.rename(columns=renamed)


def to_parquet(forecasts: pd.DataFrame) -> bytes:
    """Return forecasts as one Parquet file."""
    content = io.BytesIO()
    forecasts.to_parquet(content, index=False, compression="zstd")
    return content.getvalue()


def from_parquet(content: bytes) -> pd.DataFrame:
    """Return what `to_parquet` wrote; raises an error of pyarrow for other bytes."""
    frame: pd.DataFrame = pq.ParquetFile(io.BytesIO(content)).read().to_pandas()
    return frame


def read_forecasts(artifacts: ArtifactStore, artifact: str) -> pd.DataFrame:
    """Return the forecasts that an evaluation has stored."""
    with artifacts.open_reader(artifact) as reader:
        return from_parquet(reader.read())
