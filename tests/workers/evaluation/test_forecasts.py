"""Forecasts of windows: they see nothing after their cutoff, and their columns carry no model's name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from castpool.workers.evaluation.forecasts import forecast_windows, from_parquet, remove_alias, to_parquet
from castpool.workers.evaluation.windows import Windows, holdout_windows, verification_windows
from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StopRequest

Make = Callable[..., Job]
HORIZON, STEPS = 4, 4


def forecast(job: Job, windows: Windows, *, seed: int = 1, step: int = STEPS) -> pd.DataFrame:
    """Return the forecasts of the default configuration."""
    assert job.plan.space is not None
    config = job.plan.space.decode(job.plan.default)
    return forecast_windows(job, config, step, seed, windows, lambda step: False)


def cutoffs_of(series: pd.DataFrame, windows: Windows) -> list[pd.Timestamp]:
    """Return the last time before each window of a series."""
    first = len(series) - windows.behind - 1
    return [series["ds"].iloc[first + number * windows.distance] for number in range(windows.count(HORIZON))]


def after(table: pd.DataFrame, behind: int) -> pd.Series:
    """Return which rows are among the newest so many of their series."""
    return table.groupby("unique_id").cumcount(ascending=False) < behind


def shaken(table: pd.DataFrame, rows: pd.Series, columns: tuple[str, ...] = ("y",)) -> pd.DataFrame:
    """Return the table with other values in some rows."""
    changed = table.copy()
    for column in columns:
        changed[column] = np.where(rows, 3.0 * table[column] + 50.0, table[column])
    return changed


@pytest.fixture(scope="module")
def unequal(panel: pd.DataFrame) -> pd.DataFrame:
    """Series of which one ends ten months before the others, and one begins later."""
    is_late = (panel["unique_id"] == "series-1") & (panel["ds"] > "2019-02-01")
    is_early = (panel["unique_id"] == "series-2") & (panel["ds"] < "2015-06-01")
    return panel[~is_late & ~is_early].reset_index(drop=True)


def test_each_window_of_each_series_has_its_horizon_after_its_cutoff(job: Make, unequal: pd.DataFrame) -> None:
    made = job(table=unequal, holdout=8, val_size=6, val_step_size=2)
    for windows in (verification_windows(made)[0], holdout_windows(made)):
        assert windows is not None
        frame = forecast(made, windows)
        assert list(frame.columns) == ["unique_id", "ds", "cutoff", "forecast"]
        assert len(frame) == 3 * HORIZON * windows.count(HORIZON)
        for name, series in unequal.groupby("unique_id"):
            of_series = frame[frame["unique_id"] == name]
            assert sorted(of_series["cutoff"].unique()) == cutoffs_of(series, windows)
            for cutoff, rows in of_series.groupby("cutoff"):
                assert list(rows["ds"]) == list(
                    pd.date_range(pd.Timestamp(str(cutoff)), periods=HORIZON + 1, freq="MS")[1:]
                )
        known = frame.merge(unequal, on=["unique_id", "ds"], how="left")
        assert known["y"].notna().all()


@pytest.mark.parametrize("columns", [{}, {"futr_exog": ["promo"], "stat_exog": ["size"]}], ids=["y", "exogenous"])
def test_intervals_are_around_the_forecast_without_intervals(
    job: Make, unequal: pd.DataFrame, columns: dict[str, Any], tmp_path: Path
) -> None:
    if columns:
        future = unequal.groupby("unique_id").tail(HORIZON).assign(ds=lambda rows: rows["ds"] + pd.DateOffset(months=4))
        future.drop(columns="y").to_csv(tmp_path / "future.csv", index=False)
        columns = {**columns, "futr_data": str(tmp_path / "future.csv")}
    plain = job(table=unequal, holdout=8, val_size=6, **columns)
    made = job(table=unequal, holdout=8, val_size=6, level=[80, 95], **columns)
    windows = holdout_windows(made)
    assert windows is not None
    frame = forecast(plain, windows).sort_values(["unique_id", "ds"], ignore_index=True)
    config = made.plan.space.decode(made.plan.default)  # type: ignore[union-attr]
    steps: list[int] = []

    def counted(step: int) -> bool:
        steps.append(step)
        return False

    found = forecast_windows(made, config, STEPS, 1, windows, counted, levels=made.spec.level)
    # Both trainings are counted: a budget of steps pays for both.
    assert steps == list(range(1, 2 * STEPS + 1))
    found = found.sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(found[list(frame.columns)], frame, check_dtype=False, rtol=1e-5)
    sides = ["forecast-lo-95", "forecast-lo-80", "forecast", "forecast-hi-80", "forecast-hi-95"]
    assert (found[sides].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert (found["forecast-hi-80"] > found["forecast-lo-80"]).all()


def test_a_sigterm_ends_the_training_and_leaves_no_forecast(job: Make) -> None:
    made = job(holdout=4, val_size=4)
    windows = holdout_windows(made)
    assert windows is not None and made.plan.space is not None
    config = made.plan.space.decode(made.plan.default)

    def signal_self(step: int) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    with StopRequest() as stop:
        frame = forecast_windows(made, config, STEPS, 1, windows, signal_self)
        assert stop.is_set
    assert frame.empty


def test_the_holdout_and_the_validation_do_not_change_the_verification(job: Make, panel: pd.DataFrame) -> None:
    made = job(holdout=4, val_size=4)
    newest, older = verification_windows(made)
    other = job(holdout=4, val_size=4, table=shaken(panel, after(panel, newest.remaining)))
    pd.testing.assert_frame_equal(forecast(made, newest), forecast(other, newest))
    other = job(holdout=4, val_size=4, table=shaken(panel, after(panel, older.remaining)))
    pd.testing.assert_frame_equal(forecast(made, older), forecast(other, older))
    other = job(holdout=4, val_size=4, table=shaken(panel, after(panel, newest.behind + 1)))
    assert (forecast(made, newest)["forecast"] != forecast(other, newest)["forecast"]).all(), "it is not blind"


def test_a_window_is_forecast_from_what_is_before_its_cutoff(job: Make, panel: pd.DataFrame) -> None:
    windows = Windows(8, 8, 4)
    seen = forecast(job(holdout=8), windows)
    unseen = forecast(job(holdout=8, table=shaken(panel, after(panel, 4))), windows)
    pd.testing.assert_frame_equal(seen, unseen)  # both windows end before anything that changed is known
    unseen = forecast(job(holdout=8, table=shaken(panel, after(panel, 8))), windows)
    first = seen["cutoff"] == seen["cutoff"].min()
    pd.testing.assert_frame_equal(seen[first], unseen[first])  # the training saw none of it either
    assert (seen["forecast"][~first] != unseen["forecast"][~first]).all()  # and the second window did


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": STEPS + 1}])
def test_another_seed_or_another_step_gives_another_forecast(job: Make, change: dict[str, int]) -> None:
    made, windows = job(), Windows(4, 4, 4)
    first = forecast(made, windows)
    pd.testing.assert_frame_equal(first, forecast(made, windows))
    assert (first["forecast"] != forecast(made, windows, **change)["forecast"]).all()


@pytest.mark.parametrize(
    ("loss", "columns"),
    [
        ({"name": "MQLoss", "level": [80]}, ["forecast-median", "forecast-lo-80", "forecast-hi-80"]),
        ({"name": "QuantileLoss", "q": 0.3}, ["forecast_ql0.3"]),
        (
            {"name": "DistributionLoss", "distribution": "Normal", "level": [80]},
            ["forecast", "forecast-median", "forecast-lo-80", "forecast-hi-80"],
        ),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_quantiles_keep_their_names_without_the_models(job: Make, loss: dict[str, Any], columns: list[str]) -> None:
    frame = forecast(job(loss=loss), Windows(4, 4, 4))
    assert list(frame.columns[3:]) == columns
    assert np.isfinite(frame[columns].to_numpy()).all()


def test_exogenous_columns_take_part_and_do_not_tell_the_future(job: Make, panel: pd.DataFrame) -> None:
    def made(table: pd.DataFrame) -> Job:
        return job(table=table, holdout=4, hist_exog=["promo"], stat_exog=["size"])

    windows = Windows(4, 4, 4)
    first = forecast(made(panel), windows)
    unseen = shaken(panel, after(panel, 4), ("y", "promo"))
    pd.testing.assert_frame_equal(first, forecast(made(unseen), windows))
    seen = shaken(panel, after(panel, 8) & ~after(panel, 4), ("promo",))
    assert (first["forecast"] != forecast(made(seen), windows)["forecast"]).any()


def test_a_multivariate_model_forecasts_the_same_windows(job: Make, panel: pd.DataFrame) -> None:
    space = {"input_size": 8, "n_block": 1, "ff_dim": 8}
    windows = Windows(8, 8, 4)
    frame = forecast(job(model="TSMixer", space=space, holdout=8), windows, step=3)
    unseen = forecast(
        job(model="TSMixer", space=space, holdout=8, table=shaken(panel, after(panel, 4))), windows, step=3
    )
    pd.testing.assert_frame_equal(frame, unseen)
    assert frame.groupby(["unique_id", "cutoff"]).size().tolist() == [HORIZON] * 6


def test_a_stop_ends_the_training_at_once(job: Make) -> None:
    made, steps = job(), []

    def is_stopped(step: int) -> bool:
        steps.append(step)
        return step >= 2

    assert made.plan.space is not None
    config = made.plan.space.decode(made.plan.default)
    forecast_windows(made, config, 1000, 1, Windows(4, 4, 4), is_stopped)
    assert steps[-1] == 2


def test_forecasts_are_read_as_they_were_written() -> None:
    times = pd.date_range("2024-01-01", periods=2, freq="h")
    frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": times, "cutoff": times, "MLP": [1.0, 2.0], "MLP-lo-80": 0.5})
    renamed = remove_alias(frame, "MLP")
    assert list(renamed.columns) == ["unique_id", "ds", "cutoff", "forecast", "forecast-lo-80"]
    pd.testing.assert_frame_equal(from_parquet(to_parquet(renamed)), renamed)
    whole = frame.assign(ds=[1, 2], cutoff=[0, 1])  # integer times
    pd.testing.assert_frame_equal(from_parquet(to_parquet(whole)), whole)
