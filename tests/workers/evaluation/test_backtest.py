"""The errors of a backtest are those of utilsforecast, over all windows and by window; its tables and its picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses
from utilsforecast.evaluation import evaluate

from castpool.workers.evaluation.backtest import Backtest, summarize_backtest
from castpool.workers.evaluation.backtest_text import (
    backtest_values,
    explain_backtest,
    format_backtest,
    format_competitors,
    format_windows,
)
from castpool.workers.evaluation.backtest_windows import BacktestWindows
from castpool.workers.reporting.backtest_plot import draw_backtest

HORIZON, SEASON = 4, 12
WINDOWS = BacktestWindows(HORIZON, 3, 1, 4)
ENDS = {"a": "2020-01-01", "b": "2019-06-01"}


def series() -> pd.DataFrame:
    """Return two monthly series that end at different times."""
    random = np.random.default_rng(1)
    frames = []
    for name, end in ENDS.items():
        dates = pd.date_range(end=end, periods=50, freq="MS")
        frames.append(pd.DataFrame({"unique_id": name, "ds": dates, "y": 20 + 5 * random.standard_normal(50)}))
    return pd.concat(frames, ignore_index=True)


def forecasts(seed: int, *, has_quantiles: bool = False) -> pd.DataFrame:
    random, frames = np.random.default_rng(seed), []
    for _, one in series().groupby("unique_id"):
        for window in range(WINDOWS.number):
            first = len(one) - WINDOWS.size + window * WINDOWS.step_size
            rows = one.iloc[first : first + HORIZON].reset_index(drop=True)
            frame = rows[["unique_id", "ds"]].assign(cutoff=one["ds"].iloc[first - 1])
            point = rows["y"] + random.standard_normal(HORIZON)
            if has_quantiles:
                frame = frame.assign(
                    **{"forecast-median": point, "forecast-lo-80": point - 1, "forecast-hi-80": point + 1}
                )
            frames.append(frame if has_quantiles else frame.assign(forecast=point))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def done() -> Backtest:
    frames = {"ensemble": forecasts(1), "single best": forecasts(2), "seasonal naive": forecasts(3).iloc[::-1]}
    return summarize_backtest(frames, series(), WINDOWS, holdout=4, season=SEASON, notes=("A note.",))


def test_its_errors_are_those_of_utilsforecast(done: Backtest) -> None:
    names = ["ensemble", "single best", "seasonal naive"]
    assert list(done.frame) == ["unique_id", "ds", "cutoff", "y", *names]
    history = pd.concat([one.iloc[: -WINDOWS.size] for _, one in series().groupby("unique_id")])
    mae = evaluate(done.frame, metrics=[losses.mae], models=names)
    for name in names:
        assert done.metrics[name]["mae"] == pytest.approx(mae[name].mean())
        mase = losses.mase(done.frame, models=[name], seasonality=SEASON, train_df=history)
        assert done.metrics[name]["mase"] == pytest.approx(mase[name].mean())
    ranks = done.frame.groupby("unique_id")["cutoff"].rank(method="dense") - 1
    for window in range(WINDOWS.number):
        of_window = evaluate(done.frame[ranks == window], metrics=[losses.mae], models=names)
        for name in names:
            assert done.by_window.loc[window, name] == pytest.approx(of_window[name].mean())


def test_windows_are_counted_from_the_end_of_each_series(done: Backtest) -> None:
    newest = pd.to_datetime(["2019-01-01", "2019-05-01", "2019-09-01"])
    assert list(done.by_window["cutoff"]) == list(newest), "of the series that ends last"
    assert list(done.by_window["is_searched"]) == [True, True, False]


def test_quantiles_are_compared_by_wql_and_get_columns() -> None:
    frames = {"single best": forecasts(1, has_quantiles=True), "seasonal naive": forecasts(2)}
    done = summarize_backtest(frames, series(), WINDOWS, holdout=0, season=SEASON)
    assert list(done.frame)[3:] == ["y", "single best", "single best-lo-80", "single best-hi-80", "seasonal naive"]
    assert done.metric == "wql"
    assert done.by_window["seasonal naive"].isna().all(), "a point forecast has no quantiles to compare"
    assert done.by_window["is_searched"].all()
    shown = format_competitors(done).splitlines()
    assert [line.split("  ")[0] for line in shown[1:]] == ["single best", "seasonal naive"]
    assert "MAE" in shown[0]
    assert draw_backtest(done, "wind").startswith(b"\x89PNG")


def test_the_tables_fit_a_terminal_and_say_what_the_windows_prove(done: Backtest) -> None:
    text = format_backtest(done)
    tables = [*format_competitors(done).splitlines(), *format_windows(done).splitlines()]
    assert max(map(len, tables)) <= 80
    assert [line.split()[0] for line in format_windows(done).splitlines()[2:]] == [
        *("2019-01-01", "2019-05-01", "2019-09-01")
    ]
    assert [line.count("*") for line in format_windows(done).splitlines()[2:]] == [1, 1, 0]
    assert "the honest number is the verdict on the holdout" in text
    assert text.endswith("A note.")
    delivered = format_competitors(done).splitlines()[1].split()
    assert delivered[0] == "ensemble"
    assert float(delivered[1]) == pytest.approx(done.metrics["ensemble"]["mae"], rel=0.01)
    values = backtest_values(done)
    assert values["metrics"]["ensemble"]["mae"] == done.metrics["ensemble"]["mae"]
    assert [each["is_searched"] for each in values["by_window"]] == [True, True, False]


def test_many_competitors_are_shortened() -> None:
    frames = {
        name: forecasts(seed)
        for seed, name in enumerate(["ensemble", "single best", *map("method {}".format, range(4))])
    }
    done = summarize_backtest(frames, series(), WINDOWS, holdout=12, season=SEASON)
    assert max(map(len, format_windows(done).splitlines())) <= 80
    assert explain_backtest(done) == "All windows lie in the holdout, which the search has not used."


def test_equal_backtests_give_equal_pictures_and_whole_numbers_can_be_cutoffs(done: Backtest) -> None:
    assert draw_backtest(done, "air") == draw_backtest(done, "air")
    assert draw_backtest(done, "air") != draw_backtest(done, "costs $ and $")
    numbered = done.by_window.assign(cutoff=[10, 14, 18])
    other = Backtest(done.frame, done.metric, done.metrics, numbered, done.windows)
    assert draw_backtest(other, "air").startswith(b"\x89PNG")
    assert [line.split()[0] for line in format_windows(other).splitlines()[2:]] == ["10", "14", "18"]
