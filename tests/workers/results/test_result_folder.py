"""A result from the search to its folder: what forecasts, with castpool and without it, is what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from castpool.storage.store import Store
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.results.result import Result
from castpool.workers.results.result_folder import write_result
from castpool.workers.results.saved_model import forecast_again
from castpool.workers.results.weights import read_weights
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker
from tests.workers.results.without_castpool import run_without_castpool

Make = Callable[..., Draft]
# Models that hardly learn forecast about 0: their losses are similar, so that they are averaged.
SPEC = {
    "holdout": 4,
    "val_size": 4,
    "finalists": 2,
    "time_budget": 3600.0,
    "space": {"hidden_size": [8, 12], "learning_rate": 1e-6, "scaler_type": "identity"},
}

AVERAGE = """
fitted = NeuralForecast.load("model", verbose=False)
weights = json.load(open("weights.json"))["weights"]
forecast = fitted.predict()
forecast["ensemble"] = sum(weight * forecast[name] for name, weight in weights.items())
"""
AVERAGE_OF_INTERVALS = """
fitted = NeuralForecast.load("model", verbose=False)
weights = json.load(open("weights.json"))["weights"]
forecast = fitted.predict(level=[80, 95])
for suffix in ("", "-lo-80", "-hi-95"):
    forecast[f"ensemble{suffix}"] = sum(weight * forecast[f"{name}{suffix}"] for name, weight in weights.items())
"""


def search(store: Store, draft: Draft, out: Path, said: list[str]) -> Result:
    """Search, evaluate and write the result."""
    stored = save_study(store, draft)
    Worker(store, [stored], StopRequest()).run()
    return write_result(store, [(stored, draft.job)], out, StopRequest(), said.append)


def read_forecast(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["ds"], dtype={"unique_id": str})


def assert_close(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, check_dtype=False, rtol=1e-4, atol=1e-4)


def test_an_ensemble_forecasts_what_was_written_with_castpool_and_without(
    store: Store, draft: Make, tmp_path: Path, panel: pd.DataFrame
) -> None:
    said: list[str] = []
    drafted = draft(**SPEC, members="neural")
    result = search(store, drafted, tmp_path, said)
    weights, _ = read_weights(tmp_path)
    assert weights is not None
    assert set(weights) <= set(result.forecast.columns)
    written = read_forecast(tmp_path / "forecast.csv")
    assert list(written.columns) == ["unique_id", "ds", "ensemble", *weights]
    assert len(written) == 3 * 4
    assert_close(result.predict(), written)
    assert_close(result.predict(panel), written)
    best = json.loads((tmp_path / "best.json").read_text())
    assert [member["name"] for member in best["members"]] == list(weights)
    assert result.verdict is not None
    assert result.verdict.chosen == "ensemble"

    assert_close(run_without_castpool(AVERAGE, tmp_path)[list(written.columns)], written)

    # The same result again: it is read, and nothing is trained.
    said.clear()
    stored = save_study(store, drafted)
    again = write_result(store, [(stored, drafted.job)], tmp_path, StopRequest(), said.append)
    assert said == []
    assert_close(again.forecast, written)


@pytest.mark.parametrize("change", [{"ensemble": "none"}, {"holdout": 0, "ensemble": "none"}], ids=str)
def test_a_single_model_has_its_name_and_no_ensemble(
    store: Store, draft: Make, tmp_path: Path, change: dict[str, Any]
) -> None:
    result = search(store, draft(**{**SPEC, **change}), tmp_path, [])
    assert list(result.forecast.columns) == ["unique_id", "ds", "MLP"]
    assert read_weights(tmp_path)[0] is None
    assert_close(result.predict(), read_forecast(tmp_path / "forecast.csv"))
    verdict = result.verdict
    assert (verdict is None) == (change.get("holdout") == 0)
    assert verdict is None or verdict.chosen == "single best"


def test_intervals_are_delivered_and_their_coverage_is_judged(
    store: Store, draft: Make, tmp_path: Path, panel: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    result = search(store, draft(**SPEC, members="neural", level=[80, 95]), tmp_path, [])
    written = read_forecast(tmp_path / "forecast.csv")
    suffixes = ["-lo-95", "-lo-80", "", "-hi-80", "-hi-95"]
    ensemble = written[[f"ensemble{suffix}" for suffix in suffixes]]
    assert (ensemble.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert_close(result.predict(), written)
    assert_close(result.predict(panel), written)
    # The point forecasts are those of a study without intervals, and so is the metric.
    verdict = result.verdict
    assert verdict is not None
    assert verdict.metric == "mae"
    covered = verdict.find("ensemble").metrics
    assert 0 <= covered["coverage_level80"] <= covered["coverage_level95"] <= 1

    again = run_without_castpool(AVERAGE_OF_INTERVALS, tmp_path)
    shared = ["unique_id", "ds", "ensemble", "ensemble-lo-80", "ensemble-hi-95"]
    assert_close(again[shared], written[shared])

    assert set(forecast_again(tmp_path, panel)) == set(written)
    assert "other series" not in caplog.text
    others = forecast_again(tmp_path, panel[panel["unique_id"] != "series-0"])
    assert [name for name in others if "-lo-" in name] == []
    assert "the data has other series than the study" in caplog.text
