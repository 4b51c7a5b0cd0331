"""A Gaussian process that learns from pruned trials too."""

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

from sampler_policies.learning_curves import estimated_losses, half_ranked, step_seconds

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# A fit takes time with the cube of the trials; beyond this many, the best and the latest stand for all.
MOST_TRIALS = 150
# Fewer than these say nothing of which dimension matters.
FEWEST_TRIALS = 4


class CurveGPSampler(GPSampler):
    """Optuna's Gaussian process with what pruned trials would have come to, on a scale that outliers do not bend.

    Optuna's own looks at COMPLETE trials only, so where a pruner stops most trials it learns from few. This one sees
    each pruned trial at its estimated loss (`learning_curves.estimated_losses`), and every loss half-ranked. Trials
    that still run are taken into account as Optuna does (q-batch expected improvement), so that parallel workers do
    not try the same point. Its cost is bounded: no more than ``most_trials`` are fitted to.

    Several objectives, of which none is pruned, it samples as its parent.

    Args:
        seed: of this worker's own; no two workers may share one.
        independent_sampler: for parameters outside the common search space.
        n_startup_trials: finished trials before the first fit; until then, the independent sampler.
        most_trials: how many trials a fit may take.
        weighs_time: whether the improvement that a point promises is divided by what its training steps take.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        independent_sampler: BaseSampler | None = None,
        n_startup_trials: int = FEWEST_TRIALS,
        most_trials: int = MOST_TRIALS,
        weighs_time: bool = False,
    ) -> None:
        super().__init__(
            seed=seed,
            independent_sampler=independent_sampler,
            n_startup_trials=n_startup_trials,
            warn_independent_sampling=False,
        )
        self._most_trials = most_trials
        self._weighs_time = weighs_time
        self._timed: list[FrozenTrial] = []
        self._common_space = IntersectionSearchSpace(include_pruned=True)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that all finished trials have, pruned ones included."""
        space = self._common_space.calculate(study)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of the largest expected improvement, as far as a local search finds it."""
        if len(study.directions) > 1:
            return super().sample_relative(study, trial, search_space)
        return super().sample_relative(self._seen(study, search_space), trial, search_space)

    def _optimize_acqf(self, acqf: Any, best_params: np.ndarray | None) -> np.ndarray:
        if self._weighs_time and len(self._timed) >= FEWEST_TRIALS:
            from sampler_policies.improvement_rate import ImprovementRate, StepCost

            params = acqf.search_space.get_normalized_params(self._timed)
            seconds = [step_seconds(own) or 0.0 for own in self._timed]
            acqf = ImprovementRate(acqf, StepCost(acqf.search_space, params, seconds))
        found: np.ndarray = super()._optimize_acqf(acqf, best_params)
        return found

    def _seen(self, study: Study, search_space: Mapping[str, BaseDistribution]) -> Study:
        """Return the study as the process is to see it: every finished trial COMPLETE, at a loss that it can use."""
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        finished = [own for own in trials if own.state in FINISHED and search_space.keys() <= own.params.keys()]
        self._timed = [own for own in finished if step_seconds(own) is not None]
        sign = 1.0 if study.directions[0] == StudyDirection.MINIMIZE else -1.0
        seen = []
        if finished:
            losses = estimated_losses(finished, sign)
            chosen = self._chosen(losses)
            for index, loss in zip(chosen, half_ranked(losses[chosen]), strict=True):
                stand_in = copy.copy(finished[index])
                stand_in.state = TrialState.COMPLETE
                stand_in.values = [sign * float(loss)]
                seen.append(stand_in)
        running = [own for own in trials if own.state == TrialState.RUNNING]
        return _SeenStudy(study, [*seen, *running])  # type: ignore[return-value]

    def _chosen(self, losses: np.ndarray) -> list[int]:
        if len(losses) <= self._most_trials:
            return list(range(len(losses)))
        latest = range(len(losses) - self._most_trials // 2, len(losses))
        best = [int(own) for own in np.argsort(losses, kind="stable") if own not in latest]
        return sorted([*best[: self._most_trials - len(latest)], *latest])


class _SeenStudy:
    """A study with other trials; everything else is the study's own."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        self._study = study
        self._seen = trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = False, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [own for own in self._seen if states is None or own.state in states]
