"""The windows of conformal intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_intervals import FEWEST_WINDOWS, MOST_WINDOWS, choose_intervals


def test_long_series_have_many_windows_apart() -> None:
    decision = choose_intervals((80, 95), 24, 4000, 100)
    assert decision.arguments == {"windows": 20, "step_size": 24}
    assert decision.what == "intervals: 80 %, 95 % from 20 windows"


def test_short_series_have_few_that_overlap() -> None:
    assert choose_intervals((80,), 12, 60, 36).arguments == {"windows": 13, "step_size": 1}


def test_too_short_a_series_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        choose_intervals((80,), 12, 40, 30)
    assert str(refused.value) == (
        "level: got [80]; the shortest series has 40 observations before the holdout, 10 beside a training, and "
        "intervals need 13: leave --level out, or the shortest series."
    )


@given(st.integers(1, 100), st.integers(1, 5000), st.integers(1, 500))
def test_the_windows_leave_a_training(horizon: int, shortest: int, smallest_training: int) -> None:
    try:
        decision = choose_intervals((80,), horizon, shortest, smallest_training)
    except InputError:
        assert shortest - smallest_training <= horizon or shortest // 4 <= horizon
        return
    windows, step_size = decision.arguments["windows"], decision.arguments["step_size"]
    assert FEWEST_WINDOWS <= windows <= MOST_WINDOWS
    assert 1 <= step_size <= horizon
    assert horizon + (windows - 1) * step_size + smallest_training <= shortest
