"""Optuna's conformance tests on every sampler of castpool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import FrozenTrial, TrialState

from castpool.sampler_policies.samplers.curve_gp import CurveGPSampler
from castpool.sampler_policies.samplers.exhaustive import ExhaustiveSampler
from castpool.sampler_policies.samplers.phases import IndexedQMCSampler, Phase, PhasedSampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    # Non-finite objective values are part of the suite; GPSampler says that it clips them.
    pytest.mark.filterwarnings("ignore:Clip non-finite values"),
    pytest.mark.filterwarnings("ignore:Fixed parameter"),
]


def quick(sampler: CurveGPSampler) -> CurveGPSampler:
    """Return the sampler with a shorter search for the best point: these tests need a valid point only."""
    sampler._n_preliminary_samples, sampler._n_local_search, sampler._n_qmc_samples_qei = 16, 2, 8
    return sampler


class TestCurveGP(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: quick(CurveGPSampler(seed=0, n_startup_trials=1))


class TestExhaustive(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: ExhaustiveSampler(seed=0)


class TestIndexedQMC(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: IndexedQMCSampler(seed=0, warn_independent_sampling=False)


class TestIndexedQMCBelowACeiling(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: IndexedQMCSampler(seed=0, warn_independent_sampling=False, highest={"x": 0.1, "x0": -3})


class TestPhased(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        def build() -> BaseSampler:
            first = IndexedQMCSampler(seed=0, warn_independent_sampling=False)
            return PhasedSampler([Phase(first, 2), Phase(quick(CurveGPSampler(seed=0, n_startup_trials=1)))])

        return build


class Constant(BaseSampler):
    """Says which one it is."""

    def __init__(self, value: float) -> None:
        self.value = value

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, Any]
    ) -> dict[str, Any]:
        return dict.fromkeys(search_space, self.value)

    def sample_independent(self, *_: Any) -> float:
        return self.value


def phased() -> PhasedSampler:
    return PhasedSampler([Phase(Constant(0.1), 2), Phase(Constant(0.2), 4), Phase(Constant(0.3))])


def test_phases_change_by_what_has_ended_in_the_storage() -> None:
    study = optuna.create_study(sampler=phased())
    sampled = []
    for number in range(6):
        trial = study.ask()
        sampled.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, 1.0 if number % 2 else None, state=None if number % 2 else TrialState.PRUNED)
    assert sampled == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_a_worker_that_comes_late_joins_the_phase_that_the_study_is_in() -> None:
    study = optuna.create_study(sampler=phased())
    for _ in range(4):
        study.tell(study.ask(), 1.0)
    late = optuna.load_study(study_name=study.study_name, storage=study._storage, sampler=phased())
    assert late.ask().suggest_float("x", 0, 1) == 0.3


def test_running_and_failed_trials_move_no_phase() -> None:
    study = optuna.create_study(sampler=phased())
    for _ in range(3):
        study.ask()
        study.tell(study.ask(), state=TrialState.FAIL)
    assert study.ask().suggest_float("x", 0, 1) == 0.1


@pytest.mark.parametrize("phases", [[], [Phase(Constant(0.1), 3)], [Phase(Constant(0.1)), Phase(Constant(0.2))]])
def test_phases_without_an_order_are_refused(phases: list[Phase]) -> None:
    with pytest.raises(ValueError, match="every phase but the last"):
        PhasedSampler(phases)


def test_workers_that_ask_at_once_get_different_points_of_one_sequence() -> None:
    space = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}
    study = optuna.create_study()
    workers = [
        optuna.load_study(
            study_name=study.study_name,
            storage=study._storage,
            sampler=PhasedSampler([Phase(IndexedQMCSampler(seed=1))], space),
        )
        for _ in range(8)
    ]
    points = [(t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)) for t in (worker.ask() for worker in workers)]
    assert len(set(points)) == 8
    quarters = {(int(2 * x), int(2 * y)) for x, y in points}
    assert len(quarters) == 4, "eight points of the sequence lie in every quarter"


def test_a_small_space_is_tried_point_by_point_and_ends_nothing() -> None:
    study = optuna.create_study(sampler=ExhaustiveSampler(seed=1))
    points = []
    for _ in range(8):
        trial = study.ask()
        points.append((trial.suggest_int("a", 0, 2), trial.suggest_categorical("b", ["x", "y"])))
        study.tell(trial, 1.0)
    assert len(set(points[:6])) == 6


def test_the_process_learns_from_pruned_trials() -> None:
    """All good points are known from pruned trials only: Optuna's sampler would use none of them."""
    study = optuna.create_study(sampler=CurveGPSampler(seed=1, n_startup_trials=4))
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    for x in (0.0, 0.1, 0.9, 1.0):
        curve = {1: 2 * (x - 0.5) ** 2 + 1.0, 2: (x - 0.5) ** 2 + 0.5}
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": x}, distributions=space, values=[curve[2]], intermediate_values=curve
            )
        )
    for x in (0.3, 0.4, 0.5, 0.6, 0.7):
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED,
                params={"x": x},
                distributions=space,
                intermediate_values={1: 2 * (x - 0.5) ** 2 + 1.0},
            )
        )
    asked = [study.ask(space).params["x"] for _ in range(3)]
    assert all(0.3 < x < 0.7 for x in asked)


def test_a_fit_takes_no_more_trials_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    original = optuna.samplers.GPSampler._sample_relative_impl

    def counting(self: Any, study: Any, completed: list[FrozenTrial], *rest: Any) -> Any:
        fitted.append(len(completed))
        return original(self, study, completed, *rest)

    monkeypatch.setattr(optuna.samplers.GPSampler, "_sample_relative_impl", counting)
    study = optuna.create_study(sampler=CurveGPSampler(seed=1, n_startup_trials=1, most_trials=10))
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    for number in range(30):
        params = {"x": number / 30}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, values=[float(number)]))
    study.ask(space)
    assert fitted == [10]


def test_after_the_start_every_trial_is_the_processs_own() -> None:
    """The phases leave no trial to chance in between."""
    from castpool.sampler_policies.facts import BudgetFacts, SpaceFacts
    from castpool.sampler_policies.rules.choose_sampler import choose_sampler
    from castpool.sampler_policies.samplers.build import build_sampler, sampler_name

    space = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in "ab"}
    decision = choose_sampler(SpaceFacts(2, 0), BudgetFacts(20, 1, 1000, 50), None, {})
    sampler = build_sampler(decision, seed=1, search_space=space)
    study = optuna.create_study(sampler=sampler)
    made = []
    for number in range(8):
        trial = study.ask()
        made.append(sampler_name(study, trial._cached_frozen_trial))
        relative = set(trial.relative_params)
        assert relative == {"a", "b"}, f"trial {number} was drawn at random"
        study.tell(trial, trial.suggest_float("a", 0, 1) + trial.suggest_float("b", 0, 1))
    assert made == ["IndexedQMC"] * 4 + ["CurveGP"] * 4


@given(low=st.integers(-4, 4), width=st.integers(0, 6), highest=st.integers(-12, 12), number=st.integers(0, 40))
def test_a_start_stays_below_its_ceiling_and_within_the_space(low: int, width: int, highest: int, number: int) -> None:
    space = {"size": IntDistribution(low, low + width), "rate": FloatDistribution(1e-4, 1e-1, log=True)}
    study = optuna.create_study(sampler=IndexedQMCSampler(seed=1, highest={"size": highest, "another": 1}))
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    trial.number = number
    sampled = study.sampler.sample_relative(study, trial, dict(space))
    assert low <= sampled["size"] <= max(low, min(highest, low + width))
    assert 1e-4 <= sampled["rate"] <= 1e-1
    assert space["size"] == IntDistribution(low, low + width)
