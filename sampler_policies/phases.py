"""Different samplers over the life of a study, and the first of them: points that fill the space evenly."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class NumberedQMCSampler(QMCSampler):
    """Optuna's quasi-random sequence, in which a trial's place is its number.

    Optuna keeps a counter in the storage, which two workers may read at the same moment; a trial's number is its own.
    All workers must have the same seed.

    Args:
        seed: of the sequence.
        independent_sampler: for parameters outside the known search space.
        warn_independent_sampling: whether to say so.
        highest: the largest number that a parameter gets, for those that are not to be drawn from all of their range.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        independent_sampler: BaseSampler | None = None,
        warn_independent_sampling: bool = True,
        highest: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            seed=seed,
            independent_sampler=independent_sampler,
            warn_independent_sampling=warn_independent_sampling,
        )
        self._highest = dict(highest or {})

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of the sequence at the trial's number."""
        self._number = trial.number
        space = {name: _up_to(self._highest.get(name), own) for name, own in search_space.items()}
        return super().sample_relative(study, trial, space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number


def _up_to(highest: float | None, distribution: BaseDistribution) -> BaseDistribution:
    if highest is None or not isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution
    lowered = copy.copy(distribution)
    lowered.high = type(distribution.high)(min(max(highest, distribution.low), distribution.high))
    return lowered


@dataclass(frozen=True)
class Phase:
    """A sampler, and how many trials have ended when the next one's turn comes; None is never."""

    sampler: BaseSampler
    until: int | None = None


class PhasedSampler(BaseSampler):
    """Asks one sampler after the other, by how many trials have ended in the storage.

    What a process remembers plays no part, so a worker that joins late, or comes back, samples as all others do.

    Args:
        phases: in their order; the last one has no end.
        search_space: what every trial samples; None where it may differ from trial to trial, and each sampler finds
            out for itself. Known beforehand, it spares the first trials being sampled without a plan.
    """

    def __init__(self, phases: Sequence[Phase], search_space: Mapping[str, BaseDistribution] | None = None) -> None:
        if not phases or any(own.until is None for own in phases[:-1]) or phases[-1].until is not None:
            raise ValueError("every phase but the last needs an end, and the last none")
        self._phases = tuple(phases)
        self._space = None if search_space is None else {k: v for k, v in search_space.items() if not v.single()}
        self._asked: dict[int, BaseSampler] = {}

    def sampler_of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler that this trial is, or was, sampled by."""
        if trial._trial_id not in self._asked:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            ended = sum(own.state in ENDED and own.number != trial.number for own in trials)
            found = next(own for own in self._phases if own.until is None or ended < own.until)
            self._asked[trial._trial_id] = found.sampler
        return self._asked[trial._trial_id]

    def reseed_rng(self) -> None:
        """Reseed every phase's sampler."""
        for phase in self._phases:
            phase.sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the phase, and let its sampler prepare."""
        self.sampler_of(study, trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the known search space, or what the phase's sampler infers."""
        if self._space is not None:
            return dict(self._space)
        return self.sampler_of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the phase's sampler."""
        return self.sampler_of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """Ask the phase's sampler."""
        return self.sampler_of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the phase's sampler conclude."""
        self.sampler_of(study, trial).after_trial(study, trial, state, values)
        self._asked.pop(trial._trial_id, None)
