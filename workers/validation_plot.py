"""What a trial would have forecast for the end of the series that it was judged by, beside what came."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from storage.artifacts import PostgresArtifactStore
from storage.store import Store
from workers.forecast_plot import forecast_plot
from workers.job import Job

# Forecasting more than these takes longer than a picture is worth.
MOST_SERIES = 200
FILE = "validation.png"


def attach_plot(store: Store, trial: optuna.Trial, job: Job, model: Any) -> None:
    """Attach to a running trial a picture of the last horizon: the model's forecast, and the history."""
    if job.series.n_series > MOST_SERIES or job.series.hierarchy is not None:
        return
    drawn = forecast_plot(job.series.frame, last_horizon(model, job), f"trial {trial.number}, the last horizon")
    with tempfile.TemporaryDirectory(prefix="castpool-plot-") as folder:
        path = Path(folder) / FILE
        path.write_bytes(drawn)
        optuna.artifacts.upload_artifact(
            artifact_store=PostgresArtifactStore(store.engine), file_path=str(path), study_or_trial=trial
        )


def last_horizon(model: Any, job: Job) -> pd.DataFrame:
    """Return what a fitted model forecasts for the last horizon of each series, from what was before.

    ``unique_id``, ``ds``, and a column for each output of the model's loss; horizon rows a series.
    """
    horizon = job.spec.horizon
    before = model.get_test_size()
    model.set_test_size(horizon)
    try:
        values = model.predict(dataset=job.dataset, step_size=horizon)
    finally:
        model.set_test_size(before)
    rows = job.series.frame.groupby("unique_id", sort=False).tail(horizon)[["unique_id", "ds"]].reset_index(drop=True)
    names = [f"{job.model.name}{own}" for own in model.loss.output_names]
    return pd.concat([rows, pd.DataFrame(values.reshape(len(rows), -1), columns=names)], axis=1)
