"""A Gaussian process with learning-curve extrapolation, which learns from pruned trials too."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from castpool.private_api.optuna import storage_of, study_id_of
from castpool.sampler_policies.samplers.curve_extrapolation import estimated_losses, half_ranked, step_seconds

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# The time of a fit grows with the cube of the trials; beyond this many, only the best and the latest are used.
MOST_TRIALS = 150
# Fewer trials show nothing of which dimension matters.
FEWEST_TRIALS = 4


class CurveGPSampler(GPSampler):
    """Optuna's Gaussian process with learning-curve extrapolation and a scale of losses that is robust to outliers.

    Optuna's sampler uses COMPLETE trials only, so where a pruner stops most trials it learns from few. This one uses
    each pruned trial at its extrapolated loss (`curve_extrapolation.estimated_losses`), and half-ranked losses. Running
    trials are taken into account as in Optuna (q-batch expected improvement), so that parallel workers do not try the
    same point. The time of a fit is bounded: it uses at most ``most_trials`` trials.

    With several objectives, whose trials are never pruned, it samples as its parent class does.

    Args:
        seed: of this worker; no two workers may share one.
        independent_sampler: for parameters outside the common search space.
        n_startup_trials: finished trials before the first fit; the independent sampler samples until then.
        most_trials: the most trials that a fit may use.
        is_cost_aware: whether the acquisition function is expected improvement per second of a training step.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        independent_sampler: BaseSampler | None = None,
        n_startup_trials: int = FEWEST_TRIALS,
        most_trials: int = MOST_TRIALS,
        is_cost_aware: bool = False,
    ) -> None:
        super().__init__(
            seed=seed,
            independent_sampler=independent_sampler,
            n_startup_trials=n_startup_trials,
            warn_independent_sampling=False,
        )
        self._most_trials = most_trials
        self._is_cost_aware = is_cost_aware
        self._timed: list[FrozenTrial] = []
        self._common_space = IntersectionSearchSpace(include_pruned=True)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that all finished trials have in common, pruned trials included."""
        space = self._common_space.calculate(study)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of the largest acquisition value that the local search finds."""
        if len(study.directions) > 1:
            return super().sample_relative(study, trial, search_space)
        return super().sample_relative(self._visible_study(study, search_space), trial, search_space)

    def _optimize_acqf(self, acqf: Any, best_params: np.ndarray | None) -> np.ndarray:
        if self._is_cost_aware and len(self._timed) >= FEWEST_TRIALS:
            from castpool.sampler_policies.samplers.cost_aware_acquisition import ImprovementPerSecond, StepCost

            params = acqf.search_space.get_normalized_params(self._timed)
            seconds = [step_seconds(trial) or 0.0 for trial in self._timed]
            acqf = ImprovementPerSecond(acqf, StepCost(acqf.search_space, params, seconds))
        found: np.ndarray = super()._optimize_acqf(acqf, best_params)
        return found

    def _visible_study(self, study: Study, search_space: Mapping[str, BaseDistribution]) -> Study:
        """Return the study for the process: every finished trial COMPLETE, with its extrapolated, half-ranked loss."""
        trials = storage_of(study).get_all_trials(study_id_of(study), deepcopy=False)
        finished = [trial for trial in trials if trial.state in FINISHED and search_space.keys() <= trial.params.keys()]
        self._timed = [trial for trial in finished if step_seconds(trial) is not None]
        sign = 1.0 if study.directions[0] == StudyDirection.MINIMIZE else -1.0
        visible = []
        if finished:
            losses = estimated_losses(finished, sign)
            chosen = self._chosen(losses)
            for index, loss in zip(chosen, half_ranked(losses[chosen]), strict=True):
                replica = copy.copy(finished[index])
                replica.state = TrialState.COMPLETE
                replica.values = [sign * float(loss)]
                visible.append(replica)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        return _VisibleStudy(study, [*visible, *running])  # type: ignore[return-value]

    def _chosen(self, losses: np.ndarray) -> list[int]:
        if len(losses) <= self._most_trials:
            return list(range(len(losses)))
        latest = range(len(losses) - self._most_trials // 2, len(losses))
        best = [int(index) for index in np.argsort(losses, kind="stable") if index not in latest]
        return sorted([*best[: self._most_trials - len(latest)], *latest])


class _VisibleStudy:
    """A study with other trials in place of its stored ones; every other attribute is the study's."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        self._study = study
        self._trials = trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = False, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]
