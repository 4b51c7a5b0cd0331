"""Every point of a small space, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BruteForceSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class ExhaustiveSampler(BruteForceSampler):
    """Optuna's brute force for trials that are asked for one by one.

    Optuna's own ends `study.optimize` when every point was tried, which outside of it is an error; here the budget
    says when a study ends. Beside a continuous parameter, whose points have no end, it draws at random.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self._endless = RandomSampler(seed=seed)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value that leads to a point which nobody has tried, as long as there is one."""
        try:
            return super().sample_independent(study, trial, param_name, param_distribution)
        except ValueError:
            return self._endless.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing."""
