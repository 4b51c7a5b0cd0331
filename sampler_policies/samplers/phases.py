"""A sampler that is a sequence of samplers, and the usual first one: quasi-random (space-filling) points."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from castpool.private_api.optuna import storage_of, study_id_of, trial_id_of

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class IndexedQMCSampler(QMCSampler):
    """Optuna's quasi-random sequence, in which the index of a trial's point is the trial's number.

    Optuna keeps a counter in the storage, which two workers may read at the same moment; trial numbers are unique.
    All workers must have the same seed.

    Args:
        seed: of the sequence.
        independent_sampler: for parameters outside the known search space.
        warn_independent_sampling: whether to warn of such parameters.
        highest: the largest stored number of parameters whose range is limited, by Optuna's name of the parameter.
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
        space = {name: _limit(distribution, self._highest.get(name)) for name, distribution in search_space.items()}
        return super().sample_relative(study, trial, space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number


def _limit(distribution: BaseDistribution, highest: float | None) -> BaseDistribution:
    if highest is None or not isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution
    limited = copy.copy(distribution)
    limited.high = type(distribution.high)(min(max(highest, distribution.low), distribution.high))
    return limited


@dataclass(frozen=True)
class Phase:
    """A sampler, and the number of ended trials after which the next phase begins; None is never."""

    sampler: BaseSampler
    until: int | None = None


class PhasedSampler(BaseSampler):
    """A sequence of samplers; the number of ended trials in the storage selects the current one.

    The phase does not depend on the state of a process, so a worker that joins late samples as all others do.

    Args:
        phases: in their order; the last one has no end.
        search_space: the parameters of every trial; None where trials may differ, and each sampler infers them.
            Known in advance, it lets the first trials be sampled jointly.
    """

    def __init__(self, phases: Sequence[Phase], search_space: Mapping[str, BaseDistribution] | None = None) -> None:
        if not phases or any(phase.until is None for phase in phases[:-1]) or phases[-1].until is not None:
            raise ValueError("every phase but the last needs an end, and the last phase has none")
        self._phases = tuple(phases)
        self._space = (
            None
            if search_space is None
            else {name: distribution for name, distribution in search_space.items() if not distribution.single()}
        )
        self._samplers: dict[int, BaseSampler] = {}

    def sampler_of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler of this trial's phase."""
        if trial_id_of(trial) not in self._samplers:
            trials = storage_of(study).get_all_trials(study_id_of(study), deepcopy=False)
            ended = sum(other.state in ENDED and other.number != trial.number for other in trials)
            current = next(phase for phase in self._phases if phase.until is None or ended < phase.until)
            self._samplers[trial_id_of(trial)] = current.sampler
        return self._samplers[trial_id_of(trial)]

    def reseed_rng(self) -> None:
        """Reseed every phase's sampler."""
        for phase in self._phases:
            phase.sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the phase, and call its sampler's method."""
        self.sampler_of(study, trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the known search space, or the one that the phase's sampler infers."""
        if self._space is not None:
            return dict(self._space)
        return self.sampler_of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values that the phase's sampler samples."""
        return self.sampler_of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """Return the values that the phase's sampler samples."""
        return self.sampler_of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Call the method of the phase's sampler, and forget the trial."""
        self.sampler_of(study, trial).after_trial(study, trial, state, values)
        self._samplers.pop(trial_id_of(trial), None)
