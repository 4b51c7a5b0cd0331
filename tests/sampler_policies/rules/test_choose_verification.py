"""How many finalists are judged again, and how many models are averaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_verification import (
    EQUAL_MEMBERS,
    OVERHEAD_SECONDS,
    SAFETY,
    EvaluationFacts,
    choose_ensemble,
    choose_verification,
    plan_evaluation,
)

COSTS = st.lists(st.floats(0.0, 60.0), min_size=1, max_size=8)


def test_older_origins_leave_half_of_the_shortest_series_to_training() -> None:
    assert choose_verification(144, 12, 12, None, 24).arguments == {"finalists": 8, "origins": 2}
    assert choose_verification(72, 8, 8, None, 16).arguments == {"finalists": 8, "origins": 2}
    assert choose_verification(50, 12, 12, None, 24).arguments == {"finalists": 0, "origins": 0}
    assert choose_verification(144, 12, 12, 3, 24).arguments["finalists"] == 3


def test_what_cannot_work_is_refused() -> None:
    assert choose_verification(144, 12, 12, 0, 24).what == "verification: none"
    with pytest.raises(InputError, match=r"finalists: got -1; write a number of at least 1, or 0 for no verification"):
        choose_verification(144, 12, 12, -1, 24)
    with pytest.raises(InputError, match=r"finalists: got 4; the shortest series, 50 obs.*: write 0, or leave"):
        choose_verification(50, 12, 12, 4, 24)


@pytest.mark.parametrize(("given_", "members"), [(None, 5), ("none", 1), (1, 1), (3, 3)])
def test_members_of_the_ensemble(given_: int | str | None, members: int) -> None:
    assert choose_ensemble(given_).arguments == {"members": members}


def test_an_ensemble_has_members() -> None:
    with pytest.raises(InputError, match=r"ensemble: got 0; write a number of members of at least 1, or none"):
        choose_ensemble(0)


@given(COSTS, st.none() | st.floats(0.0, 60.0), st.floats(0.0, 1000.0), st.integers(0, 2), st.booleans())
def test_what_is_planned_fits(
    seconds: list[float], default: float | None, capacity: float, origins: int, has_holdout: bool
) -> None:
    facts = EvaluationFacts(seconds, default, capacity, origins, has_holdout)
    arguments = plan_evaluation(facts).arguments
    finalists, at = arguments["finalists"], arguments["origins"]
    assert (finalists > 0) == (at > 0) <= (origins > 0)
    costs = [cost + OVERHEAD_SECONDS for cost in seconds]
    planned = at * sum(costs[:finalists])
    if finalists and has_holdout:
        planned += EQUAL_MEMBERS * sum(costs) / len(costs)
    if default is not None:
        planned += (default + OVERHEAD_SECONDS) * (arguments["verifies_default"] * at + arguments["default"])
    if finalists:
        assert planned <= SAFETY * capacity * (1 + 1e-9)
    assert finalists in (0, *range(min(EQUAL_MEMBERS, len(seconds)), len(seconds) + 1))


@given(COSTS, st.floats(0.0, 60.0), st.floats(0.0, 500.0), st.floats(1.0, 4.0))
def test_more_capacity_never_judges_fewer_without_a_default(
    seconds: list[float], default: float, capacity: float, times: float
) -> None:
    def planned(worth: float) -> int:
        arguments = plan_evaluation(EvaluationFacts(seconds, None, worth, 2, True)).arguments
        return int(arguments["finalists"] * arguments["origins"])

    assert planned(capacity) <= planned(capacity * times)


def test_a_default_that_trains_for_too_long_is_left_out_and_the_reason_says_so() -> None:
    decision = plan_evaluation(EvaluationFacts([1.0] * 8, 500.0, 60.0, 2, True))
    assert (decision.arguments["default"], decision.arguments["verifies_default"]) == (False, False)
    assert "the default configuration is left out: it trains for 500 s" in decision.reason
    assert decision.arguments["finalists"] == 8


def test_a_model_that_trains_longer_than_the_workers_have_is_not_judged_and_the_reason_says_so() -> None:
    decision = plan_evaluation(EvaluationFacts([34.0, 4.0], 30.0, 42.0, 2, True, n_workers=2))
    assert decision.arguments == {
        "finalists": 0, "origins": 0, "default": False, "verifies_default": False, "members": 0,
    }  # fmt: skip
    assert "42 worker seconds are too few to train the best configuration again: 34 s" in decision.reason
    # One worker has all the time for it.
    assert plan_evaluation(EvaluationFacts([34.0, 4.0], 30.0, 42.0, 2, True)).arguments["members"] == 1


def test_without_a_budget_of_time_the_holdout_is_judged_whatever_it_takes() -> None:
    arguments = plan_evaluation(EvaluationFacts([9.0, 8.0, 7.0, 6.0], 10.0, 1.0, 2, True, n_workers=None)).arguments
    assert (arguments["members"], arguments["default"], arguments["finalists"]) == (EQUAL_MEMBERS, True, 0)
    costly = plan_evaluation(EvaluationFacts([1.0], 500.0, 1.0, 2, True, n_workers=None)).arguments
    assert (costly["members"], costly["default"], costly["verifies_default"]) == (1, True, False)
