"""Incremental versions of Optuna's pruners, which read new trials only instead of the whole study at each report.

Each makes the same decisions as the Optuna class in its name. Where the storage keeps a trial cache
(``trial_cache(study_id)``: ended trials in the order in which they ended, and the running ones), a check reads the
trials that have ended since the last check, and the running ones; on other storages it calls Optuna's code.
"""

from __future__ import annotations

import math
from array import array
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.private_api.optuna import (
    best_report_of,
    current_rung_of,
    forget_cached_trials,
    halving_settings_of,
    is_first_in_interval,
    rung_key,
    storage_of,
    study_id_of,
    trial_id_of,
)


class TrialCache(Protocol):
    """The trials of a study that a storage caches. ``finished`` only grows."""

    finished: list[FrozenTrial]

    @property
    def running(self) -> Sequence[FrozenTrial]:
        """The trials that have not ended, with their number and system attributes."""


def trial_cache_of(study: optuna.Study) -> TrialCache | None:
    """Return the trial cache that the study's storage keeps; None where it keeps none."""
    read: Callable[[int], TrialCache] | None = getattr(storage_of(study), "trial_cache", None)
    return None if read is None else read(study_id_of(study))


class Curves:
    """The values that complete trials reported, by step."""

    def __init__(self) -> None:
        self.complete = 0
        self._read = 0
        self._values: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))

    def read(self, cache: TrialCache) -> None:
        """Read the trials that have ended since the last call."""
        for trial in cache.finished[self._read :]:
            if trial.state == TrialState.COMPLETE:
                self.complete += 1
                for step, value in trial.intermediate_values.items():
                    self._values[step].append(value)
        self._read = len(cache.finished)

    def at(self, step: int) -> np.ndarray[Any, Any]:
        """Return the values that complete trials reported at a step."""
        return np.array(self._values[step]) if step in self._values else np.array([])


class Rungs:
    """The values with which ended trials passed the rungs of successive halving, sorted, by bracket and rung."""

    def __init__(self) -> None:
        self._read = 0
        self._values: defaultdict[tuple[int, str], list[float]] = defaultdict(list)

    def read(self, cache: TrialCache, bracket_of: Callable[[FrozenTrial], int]) -> None:
        """Read the trials that have ended since the last call."""
        for trial in cache.finished[self._read :]:
            for key, value in trial.system_attrs.items():
                if key.startswith(attributes.COMPLETED_RUNG):
                    insort(self._values[bracket_of(trial), key], value)
        self._read = len(cache.finished)

    def at(self, bracket: int, key: str) -> list[float]:
        """Return the values of a rung in ascending order."""
        return self._values[bracket, key]


class IncrementalPercentilePruner(PercentilePruner):
    """`optuna.pruners.PercentilePruner` on a trial cache."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop, as the parent class decides."""
        step = trial.last_step
        if step is None or step < self._n_warmup_steps:
            return False
        if not is_first_in_interval(step, trial.intermediate_values.keys(), self._n_warmup_steps, self._interval_steps):
            return False
        if (cache := trial_cache_of(study)) is None:
            return super().prune(study, trial)
        curves = self.__dict__.setdefault("_curves", defaultdict(Curves))[study_id_of(study)]
        curves.read(cache)
        if curves.complete == 0 or curves.complete < self._n_startup_trials:
            return False
        best = best_report_of(trial, study.direction)
        if math.isnan(best):
            return True
        values = curves.at(step)
        is_max = study.direction == StudyDirection.MAXIMIZE
        if len(values) < self._n_min_trials or np.isnan(values).all():
            return False
        bound = float(np.nanpercentile(values, 100 - self._percentile if is_max else self._percentile))
        return best < bound if is_max else best > bound


class IncrementalMedianPruner(IncrementalPercentilePruner, MedianPruner):
    """`optuna.pruners.MedianPruner` on a trial cache."""


def halve(
    pruner: SuccessiveHalvingPruner,
    study: optuna.Study,
    trial: FrozenTrial,
    rungs: Rungs,
    bracket_of: Callable[[FrozenTrial], int],
) -> bool:
    """Return whether successive halving stops the trial, as Optuna decides, among the trials of its bracket.

    The pruner's ``min_resource`` is a number, not "auto".
    """
    step = trial.last_step
    if step is None:
        return False
    rung, value, bracket = current_rung_of(trial), trial.intermediate_values[step], bracket_of(trial)
    settings = halving_settings_of(pruner)
    assert settings.min_resource is not None
    cache: TrialCache | None = None
    while True:
        rate = settings.min_early_stopping_rate + rung
        if step < settings.min_resource * settings.reduction_factor**rate:
            return False
        if math.isnan(value):
            return True
        if cache is None:
            cache = trial_cache_of(study)
            assert cache is not None
            rungs.read(cache, bracket_of)
        key = rung_key(rung)
        storage_of(study).set_trial_system_attr(trial_id_of(trial), key, value)
        others = [
            other.system_attrs[key]
            for other in cache.running
            if key in other.system_attrs and trial_id_of(other) != trial_id_of(trial) and bracket_of(other) == bracket
        ]
        ended = rungs.at(bracket, key)
        n_competing = len(ended) + len(others) + 1
        if n_competing <= settings.bootstrap_count:
            return True
        # As in Optuna: the best of the first few is promoted, although the promoted share is less than one trial.
        place = max(n_competing // settings.reduction_factor - 1, 0)
        if study.direction == StudyDirection.MAXIMIZE:
            bound = sorted([*ended[-place - 1 :], *others, value])[-place - 1]
            is_promoted = value >= bound
        else:
            bound = sorted([*ended[: place + 1], *others, value])[place]
            is_promoted = value <= bound
        if not is_promoted:
            return True
        rung += 1


class IncrementalSuccessiveHalvingPruner(SuccessiveHalvingPruner):
    """`optuna.pruners.SuccessiveHalvingPruner` on a trial cache."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop, as the parent class decides."""
        if self._min_resource is None or not hasattr(storage_of(study), "trial_cache"):
            return super().prune(study, trial)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study_id_of(study)]
        return halve(self, study, trial, rungs, lambda _: 0)


class IncrementalHyperbandPruner(HyperbandPruner):
    """`optuna.pruners.HyperbandPruner` on a trial cache. As in Optuna's, samplers see only a bracket's trials."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop, as the parent class decides."""
        if not self._pruners or not hasattr(storage_of(study), "trial_cache"):
            return super().prune(study, trial)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study_id_of(study)]
        pruner = self._pruners[self._get_bracket_id(study, trial)]
        return halve(pruner, study, trial, rungs, lambda other: self._get_bracket_id(study, other))

    def _create_bracket_study(self, study: optuna.Study, bracket_id: int) -> optuna.Study:
        # Optuna creates one at each parameter and report, and each reads the study's id from the storage.
        created = self.__dict__.setdefault("_bracket_studies", {})
        if (study, bracket_id) not in created:
            created[study, bracket_id] = super()._create_bracket_study(study, bracket_id)
        bracket_study: optuna.Study = created[study, bracket_id]
        forget_cached_trials(bracket_study)  # as in a new one
        return bracket_study


INCREMENTAL: dict[type[BasePruner], type[BasePruner]] = {
    HyperbandPruner: IncrementalHyperbandPruner,
    MedianPruner: IncrementalMedianPruner,
    PercentilePruner: IncrementalPercentilePruner,
    SuccessiveHalvingPruner: IncrementalSuccessiveHalvingPruner,
}
