"""Baselines: every one forecasts every series, on the grid, from the past alone."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.baselines import (
    SEASONAL_NAIVE,
    STATISTICAL,
    SeasonalNaive,
    available_baselines,
    evaluate_baseline,
    find_baseline,
)

SEASON = 4
NEEDS_STATSFORECAST = pytest.mark.needs("statsforecast")
EVERY = [
    pytest.param(SEASONAL_NAIVE),
    *(pytest.param(name, marks=NEEDS_STATSFORECAST) for name in STATISTICAL),
]


def make_history(lengths: dict[str, int], freq: str | int = "MS", constant: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return series of these lengths, which end at different times where the lengths differ."""
    random = np.random.default_rng(1)
    frames = []
    for name, length in lengths.items():
        dates: Any
        if isinstance(freq, int):
            dates = np.arange(length) * freq
        else:
            dates = pd.date_range("2020-01-01", periods=length, freq=freq).astype("datetime64[ns]")
        values = 20 + 5 * np.sin(np.arange(length) * 2 * np.pi / SEASON) + random.normal(0, 1, length)
        frames.append(
            pd.DataFrame({"unique_id": name, "ds": dates, "y": np.full(length, 7.0) if name in constant else values})
        )
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("freq", ["MS", "h", "W-SUN", "B", 1, 3])
def test_the_grid_of_each_series_follows_its_end(name: str, freq: str | int) -> None:
    history = make_history({"a": 24, "b": 30, "c": 27}, freq)
    predicted = find_baseline(name, SEASON).forecast(history, 5, freq, ())
    assert list(predicted.columns) == ["unique_id", "ds", "forecast"]
    assert list(predicted["unique_id"]) == ["a"] * 5 + ["b"] * 5 + ["c"] * 5
    assert predicted.dtypes["unique_id"] == history.dtypes["unique_id"]
    assert predicted.dtypes["ds"] == history.dtypes["ds"]
    assert predicted["forecast"].notna().all()
    for series, rows in predicted.groupby("unique_id"):
        last = history.loc[history["unique_id"] == series, "ds"].max()
        if isinstance(freq, int):
            assert list(rows["ds"]) == [last + step * freq for step in range(1, 6)]
        else:
            assert list(rows["ds"]) == list(pd.date_range(last, periods=6, freq=freq)[1:])


@pytest.mark.parametrize("name", EVERY)
def test_constant_and_short_series_are_forecast(name: str) -> None:
    history = make_history({"10": 24, "2": 1, "x": 3, "y": 24}, constant=("y",))
    predicted = find_baseline(name, SEASON).forecast(history, 6, "MS", (80, 95))
    assert list(predicted["unique_id"].unique()) == ["10", "2", "x", "y"]
    assert np.isfinite(predicted.drop(columns=["unique_id", "ds"])).all(axis=None)
    np.testing.assert_allclose(predicted.loc[predicted["unique_id"] == "y", "forecast"], 7.0, atol=0.01)


@NEEDS_STATSFORECAST
@pytest.mark.parametrize("name", EVERY)
def test_levels_give_intervals_around_the_forecast(name: str) -> None:
    predicted = find_baseline(name, SEASON).forecast(make_history({"a": 40, "b": 36}), 4, "MS", (80, 95))
    assert list(predicted.columns[2:]) == [
        "forecast",
        *(f"forecast-{side}-{level}" for level in (80, 95) for side in ("lo", "hi")),
    ]
    ascending = ["forecast-lo-95", "forecast-lo-80", "forecast", "forecast-hi-80", "forecast-hi-95"]
    for lower, upper in pairwise(ascending):
        assert (predicted[lower] < predicted[upper]).all()


@NEEDS_STATSFORECAST
@pytest.mark.parametrize("season", [1, 4, 12])
def test_seasonal_naive_is_that_of_statsforecast(season: int) -> None:
    from statsforecast import StatsForecast
    from statsforecast import models as stats_models

    history = make_history({"a": 24, "b": 30})
    reference = StatsForecast([stats_models.SeasonalNaive(season)], freq="MS").forecast(df=history, h=15, level=[80])
    predicted = SeasonalNaive(season).forecast(history, 15, "MS", (80,))
    for column in ("", "-lo-80", "-hi-80"):
        np.testing.assert_allclose(predicted[f"forecast{column}"], reference[f"SeasonalNaive{column}"])
    assert list(predicted["ds"]) == list(reference["ds"])


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), season=st.integers(1, 12))
def test_seasonal_naive_repeats_the_last_season(values: list[float], season: int) -> None:
    history = pd.DataFrame({"unique_id": "a", "ds": np.arange(len(values)), "y": values})
    predicted = list(SeasonalNaive(season).forecast(history, 3 * season, 1, ())["forecast"])
    last = values[-season:] if len(values) >= season else [values[-1]] * season
    assert predicted == last * 3


@pytest.mark.parametrize("name", EVERY)
def test_windows_never_see_what_is_after_their_cutoff(name: str) -> None:
    frame = make_history({"b": 40, "a": 36})
    baseline = find_baseline(name, SEASON)
    options: dict[str, Any] = {"horizon": 3, "behind": 7, "n_windows": 3, "distance": 2, "levels": (80,)}
    seen = evaluate_baseline(baseline, frame, "MS", **options)
    left = frame.groupby("unique_id", sort=False).cumcount(ascending=False)
    for window in range(3):
        changed = frame.assign(y=frame["y"].where(left >= 7 - 2 * window, -1000.0))
        again = evaluate_baseline(baseline, changed, "MS", **options)
        # The cutoffs of a series are numbered from its oldest.
        number = seen.groupby("unique_id", sort=False)["cutoff"].rank(method="dense") - 1
        pd.testing.assert_frame_equal(seen[number <= window], again[number <= window])
        assert not seen[number == 2].equals(again[number == 2]) or window == 2


def test_an_evaluation_has_the_cutoffs_and_the_steps_of_each_series() -> None:
    frame = make_history({"b": 20, "a": 12}, freq=1)
    seen = evaluate_baseline(SeasonalNaive(), frame, 1, horizon=2, behind=4, n_windows=2, distance=2)
    assert list(seen.columns) == ["unique_id", "ds", "cutoff", "forecast"]
    assert list(seen["unique_id"]) == ["b"] * 4 + ["a"] * 4
    assert list(seen["cutoff"]) == [15, 15, 17, 17, 7, 7, 9, 9]
    assert list(seen["ds"]) == [16, 17, 18, 19, 8, 9, 10, 11]
    at_cutoff = frame.rename(columns={"ds": "cutoff"})
    assert list(seen["forecast"]) == list(seen.merge(at_cutoff, on=["unique_id", "cutoff"], how="left")["y"])


@pytest.mark.parametrize(("behind", "words"), [(5, "at least 6"), (12, "less than 12, the length of series 'a'")])
def test_windows_that_do_not_fit_are_refused(behind: int, words: str) -> None:
    frame = make_history({"b": 20, "a": 12})
    with pytest.raises(InputError, match=words):
        evaluate_baseline(SeasonalNaive(), frame, "MS", horizon=2, behind=behind, n_windows=3, distance=2)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'AutoETS'"):
        find_baseline("autoets")
    with pytest.raises(InputError, match="season: got 0"):
        find_baseline(SEASONAL_NAIVE, 0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)  # what Python takes for a module that is not installed
    assert available_baselines() == (SEASONAL_NAIVE,)
    with pytest.raises(InputError, match=r"'AutoETS'.*pip install 'castpool\[baselines\]'"):
        find_baseline("AutoETS", 12)
    predicted = SeasonalNaive().forecast(make_history({"a": 20}), 2, "MS", (80,))
    assert list(predicted.columns) == ["unique_id", "ds", "forecast"]
