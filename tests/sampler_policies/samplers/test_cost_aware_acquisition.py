"""With a time budget, the Gaussian process prefers points that train fast, at the same expected improvement."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
import torch
from optuna._gp.search_space import SearchSpace
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from castpool.attributes import TRAINING_SECONDS as SECONDS
from castpool.sampler_policies.samplers.cost_aware_acquisition import StepCost
from castpool.sampler_policies.samplers.curve_extrapolation import step_seconds
from castpool.sampler_policies.samplers.curve_gp import CurveGPSampler

SPACE = {
    "batch": CategoricalDistribution(["a", "b", "c"]),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "width": IntDistribution(0, 6),
}


def trial(width: int, rate: float = 0.01, batch: str = "a", seconds: float | None = None) -> optuna.trial.FrozenTrial:
    """Return a trial of 100 steps; its loss depends on the rate only, its time on the other parameters."""
    params = {"width": width, "rate": rate, "batch": batch}
    taken = 0.01 * 2.0**width * {"a": 1, "b": 3, "c": 9}[batch] * 100 if seconds is None else seconds
    loss = (math.log10(rate) + 2.5) ** 2
    return optuna.trial.create_trial(
        params=params,
        distributions=SPACE,
        value=loss,
        intermediate_values={50: loss + 1, 100: loss},
        user_attrs={SECONDS: taken},
    )


def trials(n: int) -> list[optuna.trial.FrozenTrial]:
    rng = np.random.default_rng(1)
    return [trial(int(rng.integers(0, 7)), 10 ** rng.uniform(-4, -1), "abc"[int(rng.integers(3))]) for _ in range(n)]


def test_a_steps_cost_is_learned_from_the_trials() -> None:
    space, known = SearchSpace(SPACE), trials(40)
    cost = StepCost(space, space.get_normalized_params(known), [step_seconds(timed) or 0.0 for timed in known])
    asked = [trial(0), trial(6), trial(3, batch="c")]
    found = cost(torch.from_numpy(space.get_normalized_params(asked))).exp().tolist()
    assert found == pytest.approx([0.01, 0.64, 0.72], rel=0.15)


@pytest.mark.parametrize("seconds", [0.0, None, "long"])
def test_a_trial_without_a_time_has_no_cost(seconds: object) -> None:
    untimed = optuna.trial.create_trial(value=1.0, intermediate_values={10: 1.0}, user_attrs={SECONDS: seconds})
    assert step_seconds(untimed) is None
    assert step_seconds(optuna.trial.create_trial(value=1.0, user_attrs={SECONDS: 3.0})) is None


@pytest.mark.parametrize("n_running", [0, 3])
def test_what_promises_as_much_and_is_quicker_comes_first(n_running: int) -> None:
    taken = {}
    for is_cost_aware in (False, True):
        study = optuna.create_study(sampler=CurveGPSampler(seed=1, is_cost_aware=is_cost_aware))
        study.add_trials(trials(12))
        for _ in range(n_running):
            study.ask(SPACE)
        costs = []
        for _ in range(6):
            asked = study.ask(SPACE)
            ended = trial(**asked.params)
            asked.set_user_attr(SECONDS, ended.user_attrs[SECONDS])
            for step, value in ended.intermediate_values.items():
                asked.report(value, step)
            study.tell(asked, ended.value)
            costs.append(math.log(ended.user_attrs[SECONDS]))
        taken[is_cost_aware] = float(np.mean(costs))
        assert study.best_value < 0.05
    middle = math.log(2.0**3 * 3)  # of all points
    assert taken[True] < middle - math.log(3)
    assert taken[True] <= taken[False]


def test_without_times_it_samples_as_ever() -> None:
    asked = []
    for is_cost_aware in (False, True):
        study = optuna.create_study(sampler=CurveGPSampler(seed=1, is_cost_aware=is_cost_aware))
        study.add_trials([trial(timed.params["width"], timed.params["rate"], seconds=0.0) for timed in trials(8)])
        asked.append(study.ask(SPACE).params)
    assert asked[0] == asked[1]
