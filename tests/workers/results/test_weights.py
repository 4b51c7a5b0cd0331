"""The weights of a result beside its model, and the average that they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.results import weights as weights_module
from castpool.workers.results.forecast import add_ensemble, forecast
from castpool.workers.results.member_baselines import forecast_named
from castpool.workers.results.members import Member
from castpool.workers.results.weights import WEIGHTS_FILE, read_weights, weights_of, write_weights
from tests.workers.results.without_castpool import run_without_castpool

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "verdict.md").read_text(encoding="utf-8")
# What the documented lines for AutoTheta import.
WITH_STATSFORECAST = """
from statsforecast import StatsForecast
from statsforecast.models import AutoTheta
history = pd.read_csv("history.csv", parse_dates=["ds"])
"""
MEMBERS = [Member("NHITS_1", 0.5), Member("NHITS_10", 0.3), Member("SeasonalNaive", 0.2)]


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_weights(MEMBERS, 12, (80, 95), tmp_path / WEIGHTS_FILE)
    weights, content = read_weights(tmp_path)
    assert weights == weights_of(MEMBERS) == {"NHITS_1": 0.5, "NHITS_10": 0.3, "SeasonalNaive": 0.2}
    assert list(weights) == ["NHITS_1", "NHITS_10", "SeasonalNaive"]
    assert content["season"] == 12
    assert content["level"] == [80, 95]
    assert content["members"][2] == {"name": "SeasonalNaive", "weight": 0.2, "baseline": "SeasonalNaive"}


def test_a_single_model_has_no_weights(tmp_path: Path) -> None:
    write_weights([Member("NHITS", 1.0)], 1, (), tmp_path / WEIGHTS_FILE)
    assert read_weights(tmp_path)[0] is None
    assert weights_of([Member("NHITS", 1.0)]) is None
    assert read_weights(tmp_path / "nothing here") == (None, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"weights": {"a": 0.5, "b"', "it is no JSON"),
        ("\\ufeff[1, 2]", "it is no JSON"),
        ("[1, 2]", "do not sum to 1"),
        ("{}", "do not sum to 1"),
        ('{"weights": {}}', "do not sum to 1"),
        ('{"weights": {"a": 0.5, "b": 0.4}}', "do not sum to 1"),
        ('{"weights": {"a": 1}, "level": [180]}', "its levels are no percentages"),
        ('{"weights": {"a": 1}, "level": null}', "its levels are no percentages"),
        ('{"weights": {"a": 1.5, "b": -0.5}}', "do not sum to 1"),
        ('{"weights": {"a": "0.5", "b": 0.5}}', "do not sum to 1"),
        ('{"weights": {"a": NaN, "b": 1.0}}', "do not sum to 1"),
    ],
)
def test_a_file_without_weights_is_refused_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / WEIGHTS_FILE).write_text(content)
    with pytest.raises(InputError, match=words) as error:
        read_weights(tmp_path)
    assert "\n" not in str(error.value)
    assert WEIGHTS_FILE in str(error.value)


def predicted(*columns: str) -> pd.DataFrame:
    """Return a forecast with random numbers in the columns."""
    times = pd.date_range("2024-01-01", periods=3, freq="D")
    keys = pd.DataFrame({"unique_id": "a", "ds": times})
    return keys.assign(**dict(zip(columns, np.random.default_rng(0).normal(5, 1, (len(columns), 3)), strict=True)))


def test_the_average_is_that_of_the_documented_lines() -> None:
    forecast = predicted("NHITS_1", "NHITS_10", "SeasonalNaive", "MLP")
    weights = {member.name: member.weight for member in MEMBERS}
    found = add_ensemble(forecast, weights)
    expected = sum(weight * forecast[name] for name, weight in weights.items())
    np.testing.assert_array_equal(found["ensemble"], expected)
    pd.testing.assert_frame_equal(found.drop(columns="ensemble"), forecast)
    assert list(found.columns[:3]) == ["unique_id", "ds", "ensemble"]


def test_quantiles_are_averaged_with_those_of_the_same_name() -> None:
    suffixes = ("", "-median", "-lo-80", "-lo-80.0", "-hi-80", "_ql0.3")
    names = [f"{name}{suffix}" for name in ("NHITS_1", "NHITS_10", "NHITS") for suffix in suffixes]
    forecast = predicted(*names)
    found = add_ensemble(forecast, {"NHITS_1": 0.75, "NHITS_10": 0.25})
    assert list(found.columns) == ["unique_id", "ds", *(f"ensemble{suffix}" for suffix in suffixes), *names]
    for suffix in suffixes:
        expected = 0.75 * forecast[f"NHITS_1{suffix}"] + 0.25 * forecast[f"NHITS_10{suffix}"]
        np.testing.assert_allclose(found[f"ensemble{suffix}"], expected)


def test_columns_that_a_member_lacks_are_left_out() -> None:
    forecast = predicted("MLP", "MLP-lo-80", "MLP-hi-80", "SeasonalNaive")
    found = add_ensemble(forecast, {"MLP": 0.5, "SeasonalNaive": 0.5})
    assert [name for name in found.columns if name.startswith("ensemble")] == ["ensemble"]


def documented(beginning: str) -> str:
    """Return the block of code of the page that begins so."""
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if code.startswith(beginning))
    return str(block)


def write_result(folder: Path, panel: pd.DataFrame, loss: Any, members: list[Member]) -> pd.DataFrame:
    """Write what a result's folder has for the documented lines, and return the forecast in it."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import MLP

    history = panel[["unique_id", "ds", "y"]]
    sizes: dict[str, Any] = {
        "input_size": 12,
        "hidden_size": 8,
        "max_steps": 3,
        "val_check_steps": 3,
        "logger": False,
        "loss": loss,
    }
    names = [member.name for member in members]
    models = [MLP(h=12, alias=name, random_seed=number, **sizes) for number, name in enumerate(names) if "MLP" in name]
    fitted = NeuralForecast(models=models, freq="MS")
    fitted.fit(history)
    fitted.save(str(folder / "model"), save_dataset=True)
    write_weights(members, 12, (), folder / WEIGHTS_FILE)
    baselines = forecast_named([name for name in names if "MLP" not in name], history, 12, "MS", 12)
    weights = {member.name: member.weight for member in members}
    predicted = forecast(fitted, weights=weights, baselines=baselines)
    predicted.to_csv(folder / "forecast.csv", index=False)
    history.to_csv(folder / "history.csv", index=False)
    return predicted


def assert_same_ensemble(found: pd.DataFrame, expected: pd.DataFrame, columns: list[str]) -> None:
    assert [name for name in expected.columns if name.startswith("ensemble")] == columns
    for column in columns:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5)


def test_the_documented_lines_average_quantiles(tmp_path: Path, panel: pd.DataFrame) -> None:
    from neuralforecast.losses.pytorch import MQLoss

    expected = write_result(tmp_path, panel, MQLoss(level=[80]), [Member("MLP_1", 0.75), Member("MLP_2", 0.25)])
    loading = documented("fitted = ").splitlines()[:3]
    found = run_without_castpool("\n".join([*loading, documented("for suffix in")]), tmp_path)
    assert_same_ensemble(found, expected, ["ensemble-median", "ensemble-lo-80", "ensemble-hi-80"])


@pytest.mark.needs("statsforecast")
def test_the_documented_lines_average_a_baseline_from_the_file_or_computed_anew(
    tmp_path: Path, panel: pd.DataFrame
) -> None:
    from neuralforecast.losses.pytorch import MAE

    members = [Member("MLP_1", 0.5), Member("AutoTheta", 0.3), Member("MLP_2", 0.2)]
    expected = write_result(tmp_path, panel, MAE(), members)
    *loading, average = documented("fitted = ").splitlines()
    from_file = [*loading, documented("kept = "), average, "from_file = forecast['ensemble']"]
    anew = [WITH_STATSFORECAST, *loading, documented("season = "), average, "forecast['from_file'] = from_file"]
    found = run_without_castpool("\n".join([*from_file, *anew]), tmp_path)
    assert_same_ensemble(found, expected, ["ensemble"])
    np.testing.assert_allclose(found["from_file"], expected["ensemble"], rtol=1e-5)


def test_the_page_and_the_module_have_the_same_lines() -> None:
    lines = documented("fitted = ").splitlines()
    assert len(lines) == 4
    assert "\n".join(f"    {line}" for line in lines) in str(weights_module.__doc__)
