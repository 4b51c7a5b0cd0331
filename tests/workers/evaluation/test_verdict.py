"""The comparison of two forecasts, and the verdict as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict, compare, is_better_than
from castpool.workers.evaluation.verdict_text import format_sentence, format_table

NAMES = {
    "ensemble": "ensemble",
    "single best": "winner",
    "default configuration": "default",
    "seasonal naive": "baseline",
    "AutoETS": "baseline",
}
no_number = st.sampled_from([float("nan"), float("inf"), -0.0])
shares = st.floats(-99, 1)


def cells(n_series: int, n_windows: int, seed: int = 0, mean: float = 1.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    ids = np.repeat([f"s{number:05d}" for number in range(n_series)], n_windows)
    cutoffs = np.tile(pd.date_range("2024-01-01", periods=n_windows, freq="D"), n_series)
    errors = generator.gamma(4, mean / 4, n_series * n_windows)
    return pd.DataFrame({"unique_id": ids, "cutoff": cutoffs, "error": errors})


def scaled(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    return frame.assign(error=frame["error"] * factor)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    def comparison(name: str) -> Comparison:
        low, high = sorted([draw(shares), draw(shares)])
        has_interval = draw(st.booleans())
        return Comparison(name, draw(shares), low if has_interval else None, high if has_interval else None)

    costs = st.none() | st.floats(0, 1e9, allow_subnormal=False)
    errors = st.floats(0, 1e12) | no_number
    names = {"mae": errors, "mase": errors, "wql": errors, "coverage_level80": st.floats(0, 1) | no_number}
    metrics = st.fixed_dictionaries({}, optional=names)
    competitors = [Competitor(name, kind, "", draw(metrics), draw(costs), draw(costs)) for name, kind in NAMES.items()]
    counts = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 99)))
    others = [comparison(name) for name in draw(st.lists(st.sampled_from(list(NAMES)[1:]), unique=True))]
    return Verdict("mae", *counts, "ensemble", competitors, others)


@settings(max_examples=40, deadline=None)
@given(verdict=verdicts())
def test_a_verdict_survives_json_and_its_words_hold_numbers_only(verdict: Verdict) -> None:
    text = json.dumps(verdict.to_json(), allow_nan=False)
    assert Verdict.from_json(json.loads(text)) == verdict
    for words in (format_sentence(verdict), format_table(verdict)):
        assert "nan" not in words.replace("naive", "").lower().split()
        assert not {"inf", "-0", "None"} & set(words.replace("(", " ").split())
    assert max(map(len, format_table(verdict).splitlines())) <= 80


@pytest.mark.parametrize(
    "change",
    [
        {"competitors": None},
        {"competitors": [{"name": "ensemble"}]},
        {"chosen": "another"},
        {"n_series": "many"},
        {"comparisons": [{"against": "another", "gain": 0.1, "low": None, "high": None}]},
        {"comparisons": [{"against": "AutoETS", "gain": None, "low": None, "high": None}]},
    ],
)
def test_what_is_no_verdict_is_refused(change: dict[str, Any]) -> None:
    competitors = [Competitor(name, kind, "", {"mae": 1.0}) for name, kind in NAMES.items()]
    stored = Verdict("mae", 3, 2, 8, "ensemble", competitors, []).to_json()
    assert Verdict.from_json(stored).holdout == 8
    with pytest.raises(InputError):
        Verdict.from_json({**stored, **change})


def test_other_json_is_refused() -> None:
    with pytest.raises(InputError, match="verdict"):
        Verdict.from_json([1, 2])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'baseline'"):
        Competitor("seasonal naive", "baselines", "", {})


def test_the_gain_is_that_of_the_mean_errors_in_any_order_of_rows() -> None:
    errors, other = cells(20, 3, seed=1), cells(20, 3, seed=2, mean=1.25)
    found = compare(errors, other, against="AutoETS")
    assert found.gain == pytest.approx(1 - errors["error"].mean() / other["error"].mean())
    assert found.low is not None and found.high is not None
    assert found.low < found.gain < found.high
    shuffled = compare(errors, other.sample(frac=1, random_state=1), against="AutoETS")
    assert shuffled == found
    assert compare(errors, other, against="AutoETS", seed=1) != found


def test_a_constant_ratio_is_certain() -> None:
    errors = cells(6, 1)
    found = compare(scaled(errors, 0.8), errors, against="AutoETS")
    assert (found.gain, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    assert found.is_certain


def test_the_interval_covers_the_true_gain_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        errors, other = cells(40, 1, seed=seed, mean=0.9), cells(40, 1, seed=seed + 1000)
        found = compare(errors, other, against="AutoETS", seed=seed, n=300)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_shock_that_all_series_share_makes_the_interval_wide() -> None:
    errors, other = cells(200, 4, seed=1), cells(200, 4, seed=2)
    newest = errors["cutoff"].max()
    shocked = errors.assign(error=errors["error"].where(errors["cutoff"] != newest, errors["error"] * 3))
    found = compare(shocked, other, against="AutoETS")
    assert found.low is not None and found.high is not None
    assert found.high - found.low > 0.5


def test_scales_make_series_equal() -> None:
    errors = cells(8, 2)
    worse = errors.assign(error=errors["error"] * np.where(errors["unique_id"] == "s00000", 2, 1))
    large = {"s00000": 1e6}
    scale = {name: large.get(name, 1.0) for name in errors["unique_id"].unique()}
    assert compare(worse, errors, against="AutoETS", scales=scale).gain > -0.001
    assert compare(worse, errors, against="AutoETS").gain < -0.02


@pytest.mark.parametrize("n_windows", [1, 4])
def test_few_cells_have_no_interval(n_windows: int) -> None:
    errors = cells(1, n_windows)
    assert compare(scaled(errors, 0.5), errors, against="AutoETS") == Comparison("AutoETS", 0.5, None, None)


def test_errors_of_zero_and_without_a_number_have_a_gain() -> None:
    errors = cells(6, 1)
    zero, unknown = scaled(errors, 0.0), scaled(errors, float("nan"))
    assert compare(zero, zero, against="AutoETS").gain == 0
    assert compare(zero, errors, against="AutoETS").gain == 1
    assert compare(errors, zero, against="AutoETS").gain == -99
    assert compare(errors, unknown, against="AutoETS").gain == 1
    assert compare(unknown, errors, against="AutoETS").gain == -99
    assert compare(unknown, unknown, against="AutoETS").gain == 0


def test_other_cells_are_refused() -> None:
    with pytest.raises(InputError, match="AutoETS"):
        compare(cells(6, 1), cells(7, 1), against="AutoETS")


@pytest.mark.parametrize(("gain", "reversed_gain"), [(0.5, -1.0), (-1.0, 0.5), (0.0, 0.0), (1.0, -99.0)])
def test_the_gain_of_the_other(gain: float, reversed_gain: float) -> None:
    comparison = Comparison("AutoETS", gain, min(gain, 0.1), max(gain, 0.1)).reverse()
    assert comparison.gain == pytest.approx(reversed_gain)
    assert comparison.low is not None and comparison.high is not None
    assert comparison.low <= comparison.gain <= comparison.high


def test_a_requirement_needs_the_whole_interval() -> None:
    competitors = [Competitor(name, kind, "", {"mae": 1.0}) for name, kind in NAMES.items()]
    verdict = Verdict(
        "mae",
        3,
        2,
        8,
        "ensemble",
        competitors,
        [
            Comparison("seasonal naive", 0.12, 0.07, 0.16),
            Comparison("default configuration", 0.04, -0.01, 0.08),
            Comparison("AutoETS", 0.04, None, None),
            Comparison("single best", -0.04, None, None),
        ],
    )
    assert is_better_than(verdict, "naive") is True
    assert is_better_than(verdict, "SeasonalNaive") is True
    assert is_better_than(verdict, "default") is False
    assert is_better_than(verdict, "autoets") is None
    assert is_better_than(verdict, "single best") is False
    with pytest.raises(InputError, match="did you mean 'AutoETS'"):
        is_better_than(verdict, "AutoEST")
