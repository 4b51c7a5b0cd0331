"""The metrics of evaluation frames: the same numbers as utilsforecast's evaluate, and what is left out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses
from utilsforecast.evaluation import evaluate

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.metrics import (
    cell_errors,
    measure,
    measure_cells,
    metrics_by_name,
    quantile_columns,
    shared_quantiles,
)

HORIZON, SEASON = 4, 4


def panel(constant: bool = False) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the history, the values of two windows, and a forecast of them with intervals."""
    generator = np.random.default_rng(3)
    times = pd.date_range("2020-01-01", periods=48, freq="D")
    ids = ["a", "b", "c", *(["constant"] if constant else [])]
    whole = pd.concat(
        [pd.DataFrame({"unique_id": name, "ds": times, "y": generator.normal(20, 4, 48).round(2)}) for name in ids],
        ignore_index=True,
    )
    whole.loc[whole["unique_id"] == "constant", "y"] = 7.0
    history = whole[whole["ds"] < times[40]]
    actual = whole[whole["ds"] >= times[40]]
    place = actual.groupby("unique_id").cumcount() // HORIZON
    frame = actual[["unique_id", "ds"]].assign(cutoff=[times[39 + HORIZON * window] for window in place])
    frame["forecast"] = actual["y"] + generator.normal(0, 2, len(frame))
    for level, width in ((80, 3.0), (95, 5.0)):
        frame[f"forecast-lo-{level}"] = frame["forecast"] - width
        frame[f"forecast-hi-{level}"] = frame["forecast"] + width
    return history, actual, frame


def value(measured: pd.DataFrame, metric: str, competitor: str = "model", column: str = "value") -> float:
    found = measured[(measured["metric"] == metric) & (measured["competitor"] == competitor)]
    return float(found[column].iloc[0])


def test_the_metrics_equal_those_of_evaluate_on_the_same_frame() -> None:
    history, actual, frame = panel()
    measured = measure({"model": frame}, actual, history, SEASON)
    functions = [losses.mae, losses.rmse, losses.smape, losses.scaled_crps, losses.coverage]
    expected = evaluate(
        frame.merge(actual, on=["unique_id", "ds"]), functions, models=["forecast"], level=[80, 95], agg_fn="mean"
    )
    # `evaluate` returns the mean over series at each cutoff.
    expected = expected.groupby("metric")["forecast"].mean()
    for ours, theirs in {
        "mae": "mae",
        "rmse": "rmse",
        "smape": "smape",
        "wql": "scaled_crps",
        "coverage_level80": "coverage_level80",
        "coverage_level95": "coverage_level95",
    }.items():
        assert value(measured, ours) == pytest.approx(expected[theirs], rel=1e-12), ours


def test_the_scaled_metrics_equal_those_of_evaluate_on_the_same_frame() -> None:
    history, actual, frame = panel()
    measured = measure({"model": frame}, actual, history, SEASON)
    functions = [partial(function, seasonality=SEASON) for function in (losses.mase, losses.rmsse)]
    functions.append(partial(losses.scaled_mqloss, seasonality=SEASON))
    joined = frame.merge(actual, on=["unique_id", "ds"])
    expected = evaluate(joined, functions, models=["forecast"], train_df=history, level=[80, 95], agg_fn="mean")
    expected = expected.groupby("metric")["forecast"].mean()
    assert value(measured, "mase") == pytest.approx(expected["mase"], rel=1e-12)
    assert value(measured, "rmsse") == pytest.approx(expected["rmsse"], rel=1e-12)
    assert value(measured, "sql") == pytest.approx(expected["scaled_mqloss"], rel=1e-12)


def test_a_constant_history_is_left_out_of_scaled_metrics_only() -> None:
    history, actual, frame = panel(constant=True)
    measured = measure({"model": frame}, actual, history, SEASON)
    assert value(measured, "mase", column="left_out") == 2
    assert value(measured, "mase", column="n_cells") == 6
    assert np.isfinite(value(measured, "mase"))
    assert value(measured, "mae", column="left_out") == 0


def test_a_series_shorter_than_a_season_or_without_history_is_left_out() -> None:
    history, actual, frame = panel()
    newest = history["ds"].max()
    short = history[(history["unique_id"] != "a") | (history["ds"] > newest - pd.Timedelta(days=2))]
    measured = measure({"model": frame}, actual, short[short["unique_id"] != "b"], SEASON)
    assert value(measured, "mase", column="n_cells") == 2
    assert value(measured, "sql", column="left_out") == 4


def test_a_window_of_zeros_is_left_out_of_wql() -> None:
    history, actual, frame = panel()
    actual = actual.assign(y=actual["y"].where(actual["unique_id"] != "a", 0.0))
    measured = measure({"model": frame}, actual, history, SEASON)
    assert value(measured, "wql", column="left_out") == 2
    assert value(measured, "wql") < 10


def test_a_forecast_that_is_no_number_has_no_metric() -> None:
    history, actual, frame = panel()
    broken = frame.assign(forecast=frame["forecast"].where(frame["unique_id"] != "a"))
    measured = measure({"good": frame, "broken": broken}, actual, history, SEASON)
    assert np.isnan(value(measured, "mase", "broken"))
    assert "mae" not in metrics_by_name(measured)["broken"]
    assert metrics_by_name(measured)["good"]["mae"] == value(measured, "mae", "good")


def test_a_point_forecast_has_neither_wql_nor_coverage() -> None:
    history, actual, frame = panel()
    point = frame[["unique_id", "ds", "cutoff", "forecast"]]
    found = metrics_by_name(measure({"model": frame, "point": point}, actual, history, SEASON))
    assert {"wql", "sql", "coverage_level80"} <= found["model"].keys()
    assert found["point"].keys() == {"mae", "rmse", "mase", "rmsse", "smape"}


def test_per_series_values_average_to_the_overall_ones() -> None:
    history, actual, frame = panel()
    cells = measure_cells({"model": frame}, actual, history, SEASON)
    by_series = cells[cells["metric"] == "mae"].groupby("unique_id")["value"].mean()
    assert len(by_series) == 3
    assert by_series.mean() == pytest.approx(value(measure({"model": frame}, actual, history, SEASON), "mae"))


def test_the_errors_of_cells_average_to_the_metric_in_any_order_of_rows() -> None:
    history, actual, frame = panel()
    errors = cell_errors(frame.sample(frac=1, random_state=1), actual)
    assert list(errors.columns) == ["unique_id", "cutoff", "error"]
    assert errors["error"].mean() == pytest.approx(value(measure({"model": frame}, actual, history, SEASON), "mae"))
    pinball = cell_errors(frame, actual, is_quantile=True)
    assert 0 < pinball["error"].mean() < errors["error"].mean()


def test_a_point_forecast_counts_as_a_distribution_of_one_value() -> None:
    _, actual, frame = panel()
    point = frame[["unique_id", "ds", "cutoff", "forecast"]]
    narrow = frame.assign(**dict.fromkeys(quantile_columns(frame).values(), frame["forecast"]))
    expected = cell_errors(narrow, actual, is_quantile=True)["error"]
    for quantiles in (None, [0.1, 0.9]):
        found = cell_errors(point, actual, is_quantile=True, quantiles=quantiles)["error"]
        np.testing.assert_allclose(found, expected)


def test_the_columns_of_quantiles() -> None:
    names = ["forecast", "forecast-median", "forecast-lo-80.0", "forecast-hi-80", "forecast-ql0.3"]
    frame = pd.DataFrame(columns=names)
    expected = {0.1: "forecast-lo-80.0", 0.3: "forecast-ql0.3", 0.5: "forecast-median", 0.9: "forecast-hi-80"}
    assert quantile_columns(frame) == expected
    assert quantile_columns(frame[["forecast", "forecast-median"]]) == {}
    other = pd.DataFrame(columns=["forecast", "forecast-lo-80", "forecast-hi-80", "forecast-lo-95"])
    assert shared_quantiles({"a": frame, "b": other, "c": frame[["forecast"]]}) == [0.1, 0.9]


def test_unknown_values_and_other_keys_are_refused() -> None:
    history, actual, frame = panel()
    with pytest.raises(InputError, match="no y of a"):
        cell_errors(frame, actual.iloc[1:])
    with pytest.raises(InputError, match="shorter"):
        measure({"whole": frame, "shorter": frame.iloc[1:]}, actual, history, SEASON)
