"""Conformal intervals of a fitted result: around the same point forecasts, and only of the series of the fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from optuna.trial import FrozenTrial

from castpool.storage.store import Store
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.results.forecast import add_ensemble, forecast
from castpool.workers.results.refit import Fit, fit_members
from castpool.workers.results.result import Result
from castpool.workers.results.result_folder import write_result
from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker

Make = Callable[..., Job]
SIDES = ["-lo-95", "-lo-80", "", "-hi-80", "-hi-95"]


def default_trial(job: Job) -> FrozenTrial:
    assert job.plan.space is not None
    return optuna.trial.create_trial(
        value=1.0, params=dict(job.plan.default), distributions=job.plan.space.distributions
    )


def fit(*jobs: Job) -> NeuralForecast:
    """Return the default configuration of each job, trained for 4 steps."""
    fits = [
        Fit(job, default_trial(job), 4, f"MLP_{number}" if len(jobs) > 1 else None)
        for number, job in enumerate(jobs, 1)
    ]
    return fit_members(fits, StopRequest(), lambda line: None)


@pytest.fixture(scope="module")
def made(job: Make) -> Job:
    return job(level=[80, 95])


@pytest.fixture(scope="module")
def fitted(made: Job) -> NeuralForecast:
    return fit(made)


def test_the_point_forecasts_are_those_without_levels(job: Make, made: Job, fitted: NeuralForecast) -> None:
    plain = forecast(fit(job()))
    found = forecast(fitted, level=made.spec.level)
    pd.testing.assert_frame_equal(found[list(plain.columns)], plain, check_exact=True, check_dtype=False)
    sides = found[[f"MLP{side}" for side in SIDES]]
    assert (sides.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert (found["MLP-hi-95"] > found["MLP-lo-95"]).all()


def test_no_callback_stays_in_the_models(fitted: NeuralForecast) -> None:
    for model in (*fitted.models, *fitted.models_init):
        assert not [kind for each in model.trainer_kwargs["callbacks"] if "castpool" in (kind := type(each).__module__)]


def test_a_saved_model_gives_the_same_intervals(made: Job, fitted: NeuralForecast, tmp_path: Path) -> None:
    found = forecast(fitted, level=made.spec.level)
    fitted.save(str(tmp_path / "model"), save_dataset=True, overwrite=True)
    again = NeuralForecast.load(str(tmp_path / "model")).predict(level=[80, 95])
    pd.testing.assert_frame_equal(again, found, check_exact=True)


def test_other_series_have_no_intervals_of_the_fitted_ones(
    made: Job, fitted: NeuralForecast, panel: pd.DataFrame
) -> None:
    columns = ["unique_id", "ds", "y"]
    same = panel[columns].sample(frac=1.0, random_state=0).sort_values("ds", kind="stable")
    assert "MLP-lo-80" in forecast(fitted, df=same, level=made.spec.level)
    others = panel[columns].assign(unique_id="new " + panel["unique_id"])
    for data in (panel.loc[panel["unique_id"] == "series-1", columns], others):
        found = forecast(fitted, df=data, level=made.spec.level)
        assert list(found.columns) == ["unique_id", "ds", "MLP"]
        assert len(found) == 4 * data["unique_id"].nunique()


def test_the_longest_input_of_the_space_fits_beside_the_windows(job: Make, panel: pd.DataFrame) -> None:
    table = panel.groupby("unique_id").tail(32).reset_index(drop=True)
    space = {"input_size": 24, "hidden_size": 8, "num_layers": 2}
    made = job(table=table, holdout=0, val_size=4, level=[80], space=space)
    assert forecast(fit(made), level=[80])["MLP-lo-80"].notna().all()


def test_the_members_share_windows_that_each_has_room_for(job: Make, panel: pd.DataFrame) -> None:
    table = panel.groupby("unique_id").tail(32).reset_index(drop=True)
    short, long = (
        job(
            table=table,
            holdout=0,
            val_size=4,
            level=[80],
            space={"input_size": size, "hidden_size": 8, "num_layers": 2},
        )
        for size in (4, 24)
    )
    found = forecast(fit(short, long), level=[80], weights={"MLP_1": 0.25, "MLP_2": 0.75})
    for side in ("", "-lo-80", "-hi-80"):
        mean = 0.25 * found[f"MLP_1{side}"] + 0.75 * found[f"MLP_2{side}"]
        np.testing.assert_allclose(found[f"ensemble{side}"], mean)


def test_the_levels_are_the_result_s_and_not_the_trials(
    store: Store, draft: Callable[..., Draft], tmp_path: Path
) -> None:
    spec = {"holdout": 4, "val_size": 4, "finalists": 2, "ensemble": "none"}
    first = draft(**spec, level=[80])
    Worker(store, [save_study(store, first)], StopRequest()).run()
    found: dict[tuple[int, ...], Result] = {}
    for level in ((80,), (), (90,)):
        again = draft(**spec, level=level)
        stored = save_study(store, again)
        found[level] = write_result(store, [(stored, again.job)], tmp_path, StopRequest(), lambda line: None)
        columns = [f"MLP-{side}-{each}" for each in level for side in ("lo", "hi")]
        assert list(found[level].forecast.columns) == ["unique_id", "ds", "MLP", *columns]
        assert found[level].best["level"] == list(level)
    # The intervals that the holdout was forecast with stay in the storage: the point forecast is judged all the same.
    for result in found.values():
        assert result.verdict is not None
        assert result.verdict.metric == "mae"
        assert "coverage_level80" in result.verdict.find("single best").metrics


def test_an_ensemble_has_the_levels_that_all_members_have() -> None:
    keys: dict[str, Any] = {"unique_id": ["a"], "ds": [1]}
    members = {"A": [1.0], "A-lo-80": [0.0], "A-hi-80": [2.0], "A-lo-95": [-1.0], "B": [3.0], "B-lo-80": [1.0]}
    found = add_ensemble(pd.DataFrame({**keys, **members}), {"A": 0.5, "B": 0.5})
    assert [name for name in found if name.startswith("ensemble")] == ["ensemble", "ensemble-lo-80"]
    assert found.loc[0, ["ensemble", "ensemble-lo-80"]].tolist() == [2.0, 0.5]
