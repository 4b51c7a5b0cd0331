"""Which windows at the end of each series validate trials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.rules.choose_validation import (
    ENOUGH_WINDOWS,
    MOST_HORIZONS,
    SMALLEST_PART,
    WINDOWS_A_HORIZON,
    choose_validation,
    n_windows,
)


@pytest.mark.parametrize(
    ("horizon", "shortest", "n_series", "asked", "chosen", "words"),
    [
        (24, 1200, 8, (None, None), (120, 6), "the last 5 horizons of each series; a search that is validated on one"),
        (12, 300, 1, (None, None), (24, 3), "over a tenth of the shortest series, 300 observations; windows 3 apart"),
        (12, 144, 1, (None, None), (12, 1), "the last horizon of each series; more would be over a tenth"),
        (
            24,
            2000,
            1000,
            (None, None),
            (48, 6),
            "more would be 9000 windows, which cost time and add little information",
        ),
        (24, 1000, 10_000, (None, None), (24, 1), "the last horizon of each series; more would be 50000 windows"),
        (14, 700, 1, (None, None), (70, 2), "windows 2 apart: closer ones cost time and add little information"),
        (24, 1000, 8, (30, None), (30, 6), "val_size is set by the user; windows 6 apart"),
        (24, 1000, 8, (31, None), (31, 1), "val_size is set by the user"),
        (24, 1200, 8, (None, 1), (120, 1), "windows 1 apart, set by the user"),
    ],
)
def test_as_many_horizons_as_the_data_can_spare(
    horizon: int,
    shortest: int,
    n_series: int,
    asked: tuple[int | None, int | None],
    chosen: tuple[int, int],
    words: str,
) -> None:
    decision = choose_validation(horizon, shortest, n_series, *asked)
    assert decision.subject == "validation"
    assert (decision.arguments["val_size"], decision.arguments["val_step_size"]) == chosen
    assert words in decision.reason


@given(st.integers(1, 500), st.integers(0, 100_000), st.integers(1, 100_000))
def test_it_takes_no_more_than_a_tenth_but_always_a_horizon(horizon: int, shortest: int, n_series: int) -> None:
    arguments = choose_validation(horizon, shortest, n_series, None, None).arguments
    size, apart = arguments["val_size"], arguments["val_step_size"]
    assert size % horizon == 0
    assert 1 <= size // horizon <= MOST_HORIZONS
    if size > horizon:
        assert SMALLEST_PART * size <= shortest
        assert n_series * n_windows(size, horizon, apart) <= ENOUGH_WINDOWS


@given(st.integers(1, 500), st.integers(0, 2000), st.integers(1, 100))
def test_the_newest_window_is_always_in(horizon: int, more: int, n_series: int) -> None:
    apart = choose_validation(horizon, 5000, n_series, horizon + more, None).arguments["val_step_size"]
    assert more % apart == 0
    assert apart == 1 or apart * WINDOWS_A_HORIZON <= horizon
