"""The validation plot: a trial's forecast of the last horizon beside the observations."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from castpool.storage.files.artifacts import PostgresArtifactStore
from castpool.storage.store import Store
from castpool.workers.reporting.forecast_plot import draw_forecast
from castpool.workers.spec.job import Job

# Forecasting more series takes longer than a picture justifies.
MAX_SERIES = 200
FILE_NAME = "validation.png"


def attach_validation_plot(store: Store, trial: optuna.Trial, job: Job, model: Any) -> None:
    """Attach a picture of the last horizon to a running trial: the model's forecast and the history."""
    if job.series.n_series > MAX_SERIES or job.series.hierarchy is not None:
        return
    forecast = forecast_last_horizon(model, job)
    picture = draw_forecast(job.searched.frame, forecast, f"trial {trial.number}, the last horizon")
    with tempfile.TemporaryDirectory(prefix="castpool-plot-") as folder:
        path = Path(folder) / FILE_NAME
        path.write_bytes(picture)
        optuna.artifacts.upload_artifact(
            artifact_store=PostgresArtifactStore(store.engine), file_path=str(path), study_or_trial=trial
        )


def forecast_last_horizon(model: Any, job: Job) -> pd.DataFrame:
    """Return a fitted model's forecast of the last horizon of each series, made from the observations before it.

    Columns ``unique_id``, ``ds`` and one for each output of the model's loss; horizon rows per series.
    """
    horizon = job.spec.horizon
    before = model.get_test_size()
    model.set_test_size(horizon)
    try:
        values = model.predict(dataset=job.dataset, step_size=horizon)
    finally:
        model.set_test_size(before)
    rows = job.searched.frame.groupby("unique_id", sort=False).tail(horizon)[["unique_id", "ds"]].reset_index(drop=True)
    names = [f"{job.model.name}{suffix}" for suffix in model.loss.output_names]
    return pd.concat([rows, pd.DataFrame(values.reshape(len(rows), -1), columns=names)], axis=1)
