"""The greedy selection of an ensemble, and the weighted average of forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.ensemble import combine, equal_weights, select_weights
from castpool.workers.evaluation.metrics import cell_errors

seeds = st.integers(0, 10_000)


def windows(seed: int, n_candidates: int = 7, n_series: int = 3) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return candidates of different quality with intervals, and the values of two windows of four steps."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=8, freq="D")
    actual = pd.concat(
        [
            pd.DataFrame({"unique_id": f"s{number}", "ds": times, "y": generator.normal(50, 9, 8)})
            for number in range(n_series)
        ],
        ignore_index=True,
    )
    cutoff = [times[0] - pd.Timedelta(days=1), times[3]]
    keys = actual[["unique_id", "ds"]].assign(cutoff=[cutoff[row % 8 // 4] for row in range(len(actual))])
    frames = {}
    for number in range(n_candidates):
        point = actual["y"] + generator.normal(generator.normal(0, 3), 1 + number, len(actual))
        width = np.abs(generator.normal(4, 1, len(actual)))
        columns = {"forecast": point, "forecast-lo-80": point - width, "forecast-hi-80": point + width}
        frames[f"candidate {number}"] = keys.assign(**columns)
    return frames, actual


def loss(frame: pd.DataFrame, actual: pd.DataFrame, *, is_quantile: bool = False) -> float:
    """The mean over series of the error over the mean absolute value, by utilsforecast."""
    errors = cell_errors(frame, actual, is_quantile=is_quantile).groupby("unique_id")["error"].mean()
    sizes = actual["y"].abs().groupby(actual["unique_id"]).mean()
    return float((errors / sizes).mean())


@settings(max_examples=12, deadline=None)
@given(seed=seeds, is_quantile=st.booleans())
def test_the_ensemble_is_an_average_and_never_worse_than_the_single_best(seed: int, is_quantile: bool) -> None:
    frames, actual = windows(seed)
    weights = select_weights(frames, actual, is_quantile=is_quantile)
    assert sum(weights.values()) == pytest.approx(1)
    assert 1 <= len(weights) <= 5
    assert min(weights.values()) > 0
    singles = [loss(frame, actual, is_quantile=is_quantile) for frame in frames.values()]
    assert loss(combine(frames, weights), actual, is_quantile=is_quantile) <= min(singles) * (1 + 1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    frames, actual = windows(seed)
    shuffled = {name: frame.sample(frac=1, random_state=seed) for name, frame in frames.items()}
    weights = select_weights(frames, actual)
    assert select_weights(shuffled, actual.sample(frac=1, random_state=1)) == weights
    expected = combine(frames, weights)
    found = combine(shuffled, weights).sort_values(["unique_id", "cutoff", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, factor=st.sampled_from([1000.0, 1 / 1000, 1024.0]))
def test_the_size_of_a_series_changes_nothing(seed: int, factor: float) -> None:
    frames, actual = windows(seed)

    def enlarge(frame: pd.DataFrame) -> pd.DataFrame:
        numbers = frame.select_dtypes("number").columns
        large = frame.copy()
        large.loc[large["unique_id"] == "s1", numbers] *= factor
        return large

    enlarged = {name: enlarge(frame) for name, frame in frames.items()}
    assert select_weights(enlarged, enlarge(actual)) == pytest.approx(select_weights(frames, actual))


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_a_candidate_given_twice_changes_nothing(seed: int) -> None:
    frames, actual = windows(seed)
    twice = {**frames, **{f"{name} again": frame for name, frame in frames.items()}}
    assert select_weights(twice, actual) == select_weights(frames, actual)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, share=st.floats(0, 1))
def test_averages_keep_the_order_of_quantiles(seed: int, share: float) -> None:
    frames, _ = windows(seed, n_candidates=2)
    average = combine(frames, {"candidate 0": share, "candidate 1": 1 - share})
    assert (average["forecast-lo-80"] <= average["forecast"]).all()
    assert (average["forecast"] <= average["forecast-hi-80"]).all()


def test_opposite_errors_are_averaged_away() -> None:
    frames, actual = windows(0, n_candidates=1)
    keys = frames["candidate 0"][["unique_id", "ds", "cutoff"]]
    opposite = {"high": keys.assign(forecast=actual["y"] + 2), "low": keys.assign(forecast=actual["y"] - 2)}
    assert select_weights(opposite, actual) == {"high": 0.5, "low": 0.5}
    # An ensemble of one is the first of the equal candidates.
    assert select_weights(opposite, actual, most_members=1) == {"high": 1.0}


def test_of_equal_candidates_the_first_of_the_mapping_is_chosen() -> None:
    frames, actual = windows(1, n_candidates=1)
    frame = frames["candidate 0"]
    assert select_weights({"b": frame, "a": frame}, actual) == {"b": 1.0}


def test_a_diverged_candidate_is_never_chosen() -> None:
    frames, actual = windows(2, n_candidates=2)
    frames["candidate 0"].loc[3, "forecast"] = np.nan
    assert select_weights(frames, actual, is_quantile=False) == {"candidate 1": 1.0}
    frames["candidate 1"].loc[3, "forecast"] = np.inf
    with pytest.raises(InputError, match="no candidate has finite forecasts"):
        select_weights(frames, actual, is_quantile=False)


def test_a_forecast_that_diverged_on_a_series_of_zeros_is_never_chosen() -> None:
    frames, actual = windows(3, n_candidates=2, n_series=2)
    actual["y"] = np.where(actual["unique_id"] == "s0", 0.0, actual["y"])
    frames["candidate 0"].loc[0, "forecast"], frames["candidate 0"].loc[1, "forecast"] = np.inf, -np.inf
    assert select_weights(frames, actual, is_quantile=False) == {"candidate 1": 1.0}


@settings(max_examples=8, deadline=None)
@given(seed=seeds, size=st.integers(1, 3))
def test_each_addition_is_the_best_one(seed: int, size: int) -> None:
    """With so few additions every sequence can be tried: the losses are those of utilsforecast."""
    frames, actual = windows(seed, n_candidates=3)
    chosen: list[str] = []
    best, lowest = [], np.inf
    for _ in range(size):
        tried = {name: average_loss([*chosen, name], frames, actual) for name in frames}
        chosen.append(min(tried, key=lambda name: tried[name]))
        if tried[chosen[-1]] < lowest:
            best, lowest = list(chosen), tried[chosen[-1]]
    expected = {name: best.count(name) / len(best) for name in frames if name in best}
    assert select_weights(frames, actual, iterations=size) == pytest.approx(expected)


def average_loss(names: list[str], frames: dict[str, pd.DataFrame], actual: pd.DataFrame) -> float:
    weights = {name: names.count(name) / len(names) for name in names}
    return loss(combine(frames, weights), actual, is_quantile=True)


def test_a_series_of_zeros_decides_only_where_there_is_no_other() -> None:
    frames, actual = windows(3, n_candidates=1, n_series=2)
    keys = frames["candidate 0"][["unique_id", "ds", "cutoff"]]
    actual["y"] = np.where(actual["unique_id"] == "s0", 0.0, actual["y"])
    is_zero = actual["unique_id"] == "s0"
    candidates = {
        "right on zeros": keys.assign(forecast=actual["y"] + np.where(is_zero, 0, 1)),
        "right on the other": keys.assign(forecast=actual["y"] + np.where(is_zero, 1, 0)),
    }
    assert select_weights(candidates, actual) == {"right on the other": 1.0}
    zeros = {name: frame[frame["unique_id"] == "s0"] for name, frame in candidates.items()}
    assert select_weights(zeros, actual) == {"right on zeros": 1.0}
    assert select_weights(candidates, actual, scales={"s0": 1.0}) == {"right on zeros": 1.0}


def test_equal_weights_are_those_of_the_first_names() -> None:
    assert equal_weights(["b", "a", "d", "c"]) == {"b": 1 / 3, "a": 1 / 3, "d": 1 / 3}
    assert equal_weights(["b"]) == {"b": 1.0}
    with pytest.raises(InputError, match="no candidates"):
        equal_weights([])


def test_an_average_of_one_member_is_that_member() -> None:
    frames, _ = windows(4)
    pd.testing.assert_frame_equal(combine(frames, {"candidate 2": 1.0, "candidate 1": 0.0}), frames["candidate 2"])


def test_forecasts_without_a_cutoff_are_averaged_on_their_common_columns() -> None:
    frames, _ = windows(5, n_candidates=2)
    future = {name: frame.drop(columns="cutoff") for name, frame in frames.items()}
    future["candidate 1"] = future["candidate 1"].drop(columns="forecast-lo-80")
    average = combine(future, {"candidate 0": 0.25, "candidate 1": 0.75})
    assert list(average.columns) == ["unique_id", "ds", "forecast", "forecast-hi-80"]
    expected = 0.25 * future["candidate 0"]["forecast"] + 0.75 * future["candidate 1"]["forecast"]
    np.testing.assert_allclose(average["forecast"], expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"candidate 0": 0.5}, "sum to 1"),
        ({"candidate 0": 1.5, "candidate 1": -0.5}, "sum to 1"),
        ({"candidate 0": 0.5, "another": 0.5}, "another"),
        ({"candidate 0": 0.5, "short": 0.5}, "the same series, times and cutoffs"),
        ({"candidate 0": 0.5, "later": 0.5}, "the same series, times and cutoffs"),
    ],
)
def test_what_cannot_be_averaged_is_refused(weights: dict[str, float], message: str) -> None:
    frames, _ = windows(6, n_candidates=2)
    frames["short"] = frames["candidate 0"].iloc[1:]
    frames["later"] = frames["candidate 0"].assign(ds=frames["candidate 0"]["ds"] + pd.Timedelta(days=1))
    with pytest.raises(InputError, match=message):
        combine(frames, weights)


def test_values_that_are_not_known_are_refused() -> None:
    frames, actual = windows(7)
    with pytest.raises(InputError, match="known values"):
        select_weights(frames, actual.iloc[1:])
