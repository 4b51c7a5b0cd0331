"""Optuna's pruners, deciding from what is new instead of reading the whole study at each report.

Each is its Optuna namesake and decides the same on the same trials. Where the storage keeps a history of the ended
trials (``history(study_id)``: ended trials in the order of their coming, and those that have not ended), a check
looks at the trials that have ended since its last one and at the running ones; elsewhere it is Optuna's own.
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
from optuna.pruners._percentile import _get_best_intermediate_result_over_steps, _is_first_in_interval_step
from optuna.pruners._successive_halving import _completed_rung_key, _get_current_rung
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class History(Protocol):
    """What a storage knows of a study's trials. ``finished`` only grows."""

    finished: list[FrozenTrial]

    @property
    def running(self) -> Sequence[FrozenTrial]:
        """The trials that have not ended, with their number and system attributes."""


def history_of(study: optuna.Study) -> History | None:
    """Return the history that the study's storage keeps, if it does."""
    history: Callable[[int], History] | None = getattr(study._storage, "history", None)
    return None if history is None else history(study._study_id)


class Curves:
    """The reports of complete trials by their step."""

    def __init__(self) -> None:
        self.complete = 0
        self._read = 0
        self._values: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))

    def read(self, history: History) -> None:
        """Take in the trials that have ended since the last time."""
        for trial in history.finished[self._read :]:
            if trial.state == TrialState.COMPLETE:
                self.complete += 1
                for step, value in trial.intermediate_values.items():
                    self._values[step].append(value)
        self._read = len(history.finished)

    def at(self, step: int) -> np.ndarray[Any, Any]:
        """Return the values that complete trials have reported at a step."""
        return np.array(self._values[step]) if step in self._values else np.array([])


class Rungs:
    """The values with which ended trials passed the rungs of successive halving, sorted, by bracket and rung."""

    def __init__(self) -> None:
        self._read = 0
        self._values: defaultdict[tuple[int, str], list[float]] = defaultdict(list)

    def read(self, history: History, bracket_of: Callable[[FrozenTrial], int]) -> None:
        """Take in the trials that have ended since the last time."""
        for trial in history.finished[self._read :]:
            for key, value in trial.system_attrs.items():
                if key.startswith("completed_rung_"):
                    insort(self._values[bracket_of(trial), key], value)
        self._read = len(history.finished)

    def at(self, bracket: int, key: str) -> list[float]:
        """Return the values of a rung, the smallest first."""
        return self._values[bracket, key]


class BoundedPercentilePruner(PercentilePruner):
    """`optuna.pruners.PercentilePruner` on a history."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to stop, as Optuna's own does."""
        step = trial.last_step
        if step is None or step < self._n_warmup_steps:
            return False
        if not _is_first_in_interval_step(
            step, trial.intermediate_values.keys(), self._n_warmup_steps, self._interval_steps
        ):
            return False
        if (history := history_of(study)) is None:
            return super().prune(study, trial)
        curves = self.__dict__.setdefault("_curves", defaultdict(Curves))[study._study_id]
        curves.read(history)
        if curves.complete == 0 or curves.complete < self._n_startup_trials:
            return False
        best = _get_best_intermediate_result_over_steps(trial, study.direction)
        if math.isnan(best):
            return True
        values = curves.at(step)
        is_max = study.direction == StudyDirection.MAXIMIZE
        if len(values) < self._n_min_trials or np.isnan(values).all():
            return False
        bound = float(np.nanpercentile(values, 100 - self._percentile if is_max else self._percentile))
        return best < bound if is_max else best > bound


class BoundedMedianPruner(BoundedPercentilePruner, MedianPruner):
    """`optuna.pruners.MedianPruner` on a history."""


def halve(
    pruner: SuccessiveHalvingPruner,
    study: optuna.Study,
    trial: FrozenTrial,
    rungs: Rungs,
    bracket_of: Callable[[FrozenTrial], int],
) -> bool:
    """Return whether successive halving stops the trial, as Optuna's own does, comparing it within its bracket.

    The pruner's smallest resource is a number, not "auto".
    """
    step = trial.last_step
    if step is None:
        return False
    rung, value, bracket = _get_current_rung(trial), trial.intermediate_values[step], bracket_of(trial)
    assert pruner._min_resource is not None
    history: History | None = None
    while True:
        rate = pruner._min_early_stopping_rate + rung
        if step < pruner._min_resource * pruner._reduction_factor**rate:
            return False
        if math.isnan(value):
            return True
        if history is None:
            history = history_of(study)
            assert history is not None
            rungs.read(history, bracket_of)
        key = _completed_rung_key(rung)
        study._storage.set_trial_system_attr(trial._trial_id, key, value)
        others = [
            own.system_attrs[key]
            for own in history.running
            if key in own.system_attrs and own._trial_id != trial._trial_id and bracket_of(own) == bracket
        ]
        ended = rungs.at(bracket, key)
        n_competing = len(ended) + len(others) + 1
        if n_competing <= pruner._bootstrap_count:
            return True
        # As Optuna's: the best of the first few goes on though no share of them is a whole trial.
        place = max(n_competing // pruner._reduction_factor - 1, 0)
        if study.direction == StudyDirection.MAXIMIZE:
            bound = sorted([*ended[-place - 1 :], *others, value])[-place - 1]
            is_promoted = value >= bound
        else:
            bound = sorted([*ended[: place + 1], *others, value])[place]
            is_promoted = value <= bound
        if not is_promoted:
            return True
        rung += 1


class BoundedSuccessiveHalvingPruner(SuccessiveHalvingPruner):
    """`optuna.pruners.SuccessiveHalvingPruner` on a history."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to stop, as Optuna's own does."""
        if self._min_resource is None or not hasattr(study._storage, "history"):
            return super().prune(study, trial)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study._study_id]
        return halve(self, study, trial, rungs, lambda own: 0)


class BoundedHyperbandPruner(HyperbandPruner):
    """`optuna.pruners.HyperbandPruner` on a history. Samplers see a bracket's trials alone, as with Optuna's own."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to stop, as Optuna's own does."""
        if not self._pruners or not hasattr(study._storage, "history"):
            return super().prune(study, trial)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study._study_id]
        pruner = self._pruners[self._get_bracket_id(study, trial)]
        return halve(pruner, study, trial, rungs, lambda own: self._get_bracket_id(study, own))

    def _create_bracket_study(self, study: optuna.Study, bracket_id: int) -> optuna.Study:
        # Optuna asks for one at each parameter and report, and each asks the storage for the study's id.
        made = self.__dict__.setdefault("_bracket_studies", {})
        if (study, bracket_id) not in made:
            made[study, bracket_id] = super()._create_bracket_study(study, bracket_id)
        bracket_study: optuna.Study = made[study, bracket_id]
        bracket_study._thread_local.cached_all_trials = None  # as in a new one
        return bracket_study


BOUNDED: dict[type[BasePruner], type[BasePruner]] = {
    HyperbandPruner: BoundedHyperbandPruner,
    MedianPruner: BoundedMedianPruner,
    PercentilePruner: BoundedPercentilePruner,
    SuccessiveHalvingPruner: BoundedSuccessiveHalvingPruner,
}
