"""The newest observations judge the result, where the series can spare them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_holdout import ENOUGH_WINDOWS, MOST_HORIZONS, choose_holdout


@pytest.mark.parametrize(
    ("horizon", "shortest", "n_series", "size"),
    [
        (12, 144, 1, 12),  # a tenth is little more than a horizon
        (12, 59, 1, 0),  # under five horizons
        (24, 17_000, 1, 120),  # one series: five windows
        (24, 832, 8, 72),  # three windows of eight series are enough
        (8, 72, 304, 8),  # one window of many series is enough
    ],
)
def test_it_is_as_long_as_the_series_can_spare(horizon: int, shortest: int, n_series: int, size: int) -> None:
    decision = choose_holdout(horizon, shortest, n_series, None)
    assert decision.arguments == {"holdout": size}
    assert decision.reason


@given(st.integers(1, 200), st.integers(1, 100_000), st.integers(1, 1000))
def test_it_takes_whole_horizons_and_at_most_a_fifth(horizon: int, shortest: int, n_series: int) -> None:
    size = choose_holdout(horizon, shortest, n_series, None).arguments["holdout"]
    assert size % horizon == 0
    assert size <= MOST_HORIZONS * horizon
    assert 5 * size <= shortest or (size == horizon and shortest >= 5 * horizon)
    if size > horizon:
        assert 10 * size <= shortest
        assert (size // horizon - 1) * n_series < ENOUGH_WINDOWS


def test_the_user_decides() -> None:
    assert choose_holdout(12, 60, 1, 0).what == "holdout: none"
    assert choose_holdout(12, 20, 1, 30).arguments == {"holdout": 30}
    with pytest.raises(InputError, match=r"holdout: got 5; write at least the horizon, 12, or 0 for none\."):
        choose_holdout(12, 144, 1, 5)
