"""Extrapolated losses of pruned trials, and the scale of losses for a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from castpool.sampler_policies.samplers.curve_extrapolation import estimated_losses, half_ranked


def complete(*curve: float) -> FrozenTrial:
    return create_trial(value=min(curve), intermediate_values=dict(enumerate(curve, 1)))


def pruned(*curve: float) -> FrozenTrial:
    return create_trial(state=TrialState.PRUNED, intermediate_values=dict(enumerate(curve, 1)))


HALVING = [complete(16.0, 8.0, 4.0), complete(20.0, 10.0, 5.0), complete(40.0, 20.0, 10.0)]


def estimate(*trials: FrozenTrial, sign: float = 1.0) -> list[float]:
    return [float(loss) for loss in estimated_losses(trials, sign)]


def test_complete_trials_keep_their_values() -> None:
    assert estimate(*HALVING) == [4.0, 5.0, 10.0]


def test_a_pruned_trial_is_carried_on_as_the_complete_ones_went_on() -> None:
    assert estimate(*HALVING, pruned(60.0), pruned(60.0, 30.0))[3:] == [15.0, 15.0]


def test_what_counts_is_the_best_check_so_far() -> None:
    assert estimate(*HALVING, pruned(12.0, 90.0))[3] == pytest.approx(6.0)


def test_losses_around_zero_are_carried_on_by_differences() -> None:
    trials = [complete(1.0, -1.0), complete(2.0, 0.0), complete(3.0, 1.0)]
    assert estimate(*trials, pruned(5.0))[3] == 3.0


def test_a_single_trial_that_went_on_says_nothing_of_others() -> None:
    assert estimate(HALVING[0], pruned(60.0))[1] == 60.0


def test_of_two_that_went_on_the_one_that_improved_less_is_believed() -> None:
    assert estimate(complete(16.0, 4.0), complete(20.0, 10.0), pruned(60.0))[2] == 30.0


def test_trials_that_are_stopped_later_say_how_training_goes_on() -> None:
    halving = [pruned(loss, loss / 2) for loss in (16.0, 20.0, 40.0)]
    assert estimate(*halving, pruned(60.0)) == [8.0, 10.0, 20.0, 30.0]


def test_improvements_from_stop_to_stop_add_up() -> None:
    early = [pruned(loss, loss / 2) for loss in (16.0, 20.0, 40.0)]
    late = [pruned(loss, loss / 2, loss / 8) for loss in (8.0, 12.0, 24.0)]
    assert estimate(*early, *late, pruned(80.0))[-1] == pytest.approx(80.0 / 2 / 4)
    assert estimate(*early, *late)[:3] == [2.0, 2.5, 5.0]


@given(st.lists(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=6), min_size=1, max_size=12))
def test_no_trial_is_expected_to_get_worse_by_training(curves: list[list[float]]) -> None:
    trials = [pruned(*curve) for curve in curves]
    assert all(loss <= min(curve) * (1 + 1e-9) for loss, curve in zip(estimate(*trials), curves, strict=True))


@pytest.mark.parametrize("nothing", [pruned(), pruned(math.nan), pruned(math.inf)])
def test_a_trial_without_a_finite_check_is_as_bad_as_the_worst(nothing: FrozenTrial) -> None:
    assert estimate(*HALVING, nothing, pruned(400.0)) == [4.0, 5.0, 10.0, 100.0, 100.0]
    assert estimate(nothing) == [0.0]


def test_a_check_later_than_any_complete_trials_own_is_no_error() -> None:
    trials = [create_trial(value=1.0) for _ in range(4)]  # trials without a report
    assert estimate(*trials, pruned(3.0))[4] == 3.0


def test_maximised_objectives_are_losses_upside_down() -> None:
    trials = [
        create_trial(value=-trial.values[0], intermediate_values={k: -v for k, v in trial.intermediate_values.items()})
        for trial in HALVING
    ]
    assert estimate(*trials, sign=-1.0) == [4.0, 5.0, 10.0]


FINITE = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40)


@given(FINITE)
def test_half_ranking_keeps_the_order_and_the_good_half(losses: Sequence[float]) -> None:
    values = np.array(losses)
    warped = half_ranked(values)
    assert np.all(np.isfinite(warped))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(warped[order]) >= 0)
    good = values <= np.median(values)
    assert np.array_equal(warped[good], values[good])


def test_an_outlier_does_not_bend_the_scale() -> None:
    warped = half_ranked(np.array([10.0, 10.5, 11.0, 12.0, 1e8]))
    assert warped[4] - warped[0] < 10
    assert warped[4] > warped[3] > warped[2]


def test_equal_losses_stay_equal() -> None:
    assert half_ranked(np.array([3.0, 3.0, 3.0])).tolist() == [3.0, 3.0, 3.0]
