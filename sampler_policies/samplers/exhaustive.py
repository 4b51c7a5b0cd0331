"""Exhaustive search: every point of a small space, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BruteForceSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class ExhaustiveSampler(BruteForceSampler):
    """Optuna's brute-force sampler for studies without `study.optimize`.

    Optuna's sampler ends `study.optimize` when every point was tried, which is an error outside of it; in castpool the
    budget ends a study. When every point was tried, and with continuous parameters, it samples at random.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self._random = RandomSampler(seed=seed)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value that leads to a point without a trial, as long as there is one."""
        try:
            return super().sample_independent(study, trial, param_name, param_distribution)
        except ValueError:
            return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: the parent class would stop the study after the last point."""
