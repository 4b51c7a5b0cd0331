from __future__ import annotations

import pytest
from optuna.distributions import IntDistribution

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, DataFacts
from castpool.sampler_policies.rules.choose_steps import (
    FEWEST_CHECKS,
    LONGEST_BY_DEFAULT,
    choose_max_steps,
    choose_val_check_steps,
)
from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space

EMPTY = Space(())


def searching_steps(*choices: int) -> Space:
    return Space((from_choices("max_steps", choices),))


@pytest.mark.parametrize(
    ("default_space", "usual", "steps", "reason"),
    [
        (searching_steps(500, 1000), 1000, 1000, "longest training in neuralforecast's defaults"),
        (searching_steps(500, 1000, 2000), 1000, 2000, "longest training in neuralforecast's defaults"),
        (searching_steps(500, 1000, 5000), 5000, 2000, "neuralforecast's defaults go to 5000, far more"),
        (Space((Parameter("max_steps", "int", IntDistribution(500, 1500, step=100)),)), 5000, 1500, "longest"),
        (EMPTY, 1000, 1000, "longest"),
        (EMPTY, 5000, 2000, "neuralforecast's defaults go to 5000"),
    ],
)
def test_trials_train_as_long_as_the_default_space_goes_up_to_a_limit(
    default_space: Space, usual: int, steps: int, reason: str
) -> None:
    decision = choose_max_steps(default_space, EMPTY, usual, None)
    assert decision.choice == str(steps)
    assert reason in decision.reason


@pytest.mark.parametrize("given", [1, 300, 10 * LONGEST_BY_DEFAULT])
def test_the_users_number_of_steps_wins(given: int) -> None:
    decision = choose_max_steps(searching_steps(500, 1000), searching_steps(5, 10), 1000, given)
    assert (decision.choice, decision.reason) == (str(given), "set by the user")


def test_steps_that_are_searched_go_to_the_longest_whatever_the_limit() -> None:
    decision = choose_max_steps(searching_steps(500), searching_steps(1000, 9000), 1000, None)
    assert (decision.choice, decision.reason) == ("9000", "it is the longest training in the space")


@pytest.mark.parametrize("given", [0, -5])
def test_no_step_at_all_is_refused(given: int) -> None:
    with pytest.raises(InputError, match=rf"^max_steps: got {given}; write a number of training steps of at least 1"):
        choose_max_steps(EMPTY, EMPTY, 1000, given)


@pytest.mark.parametrize(
    ("max_steps", "steps"),
    [(1, 1), (14, 1), (15, 1), (30, 2), (150, 10), (500, 25), (1000, 50), (1500, 100), (2000, 100), (10**6, 10_000)],
)
def test_checks_come_at_the_widest_round_distance_that_leaves_enough(max_steps: int, steps: int) -> None:
    assert choose_val_check_steps(max_steps, None).choice == str(steps)


@pytest.mark.parametrize("max_steps", range(FEWEST_CHECKS, 5000, 97))
def test_there_are_always_enough_checks_and_the_reason_counts_them(max_steps: int) -> None:
    decision = choose_val_check_steps(max_steps, None)
    checks = max_steps // int(decision.choice)
    assert checks >= FEWEST_CHECKS
    assert decision.reason.startswith(f"{checks} checks per trial")


@pytest.mark.parametrize("given", [1, 7, 300])
def test_the_users_distance_wins(given: int) -> None:
    decision = choose_val_check_steps(300, given)
    assert (decision.choice, decision.reason) == (str(given), "set by the user")


@pytest.mark.parametrize("given", [0, -1, 301])
def test_a_distance_that_leaves_no_check_is_refused(given: int) -> None:
    with pytest.raises(InputError, match=rf"^val_check_steps: got {given}; write a number from 1 to max_steps \(300\)"):
        choose_val_check_steps(300, given)


def test_a_budget_counts_whole_checks() -> None:
    assert BudgetFacts(trials=10, workers=1, max_steps=250, val_check_steps=100).checks == 2


def test_the_longest_input_leaves_room_for_horizon_and_validation() -> None:
    assert DataFacts(n_series=1, shortest=60, longest=90, n_rows=60, horizon=8, val_size=16).longest_input == 36


@pytest.mark.parametrize(
    ("n_series", "length", "input_size", "windows"),
    [(1, 60, 36, 1), (1, 60, 1, 36), (3, 60, 35, 6), (1, 60, 50, 1)],
)
def test_training_windows_are_whole_ones_and_never_none(
    n_series: int, length: int, input_size: int, windows: int
) -> None:
    data = DataFacts(n_series, length, length, n_series * length, horizon=8, val_size=16)
    assert data.training_windows(input_size) == windows


@pytest.mark.parametrize(("longest", "steps"), [(500, 500), (1000, 1000), (1500, 1000), (5000, 1000)])
def test_where_time_ends_the_study_trials_are_shorter_at_most(longest: int, steps: int) -> None:
    decision = choose_max_steps(searching_steps(100, longest), EMPTY, 1000, None, "time")
    assert decision.choice == str(steps)
    assert ("leaves time for few trials" in decision.reason) == (longest > steps)


@pytest.mark.parametrize(("max_steps", "steps"), [(40, 1), (500, 10), (1000, 25), (1500, 25), (2000, 50)])
def test_where_time_ends_the_study_the_first_check_comes_early(max_steps: int, steps: int) -> None:
    assert choose_val_check_steps(max_steps, None, "time").choice == str(steps)
    assert choose_val_check_steps(max_steps, max_steps, "time").choice == str(max_steps)
