"""The part of an Optuna storage that reads trials.

Ended trials never change, so each is read once. One statement brings what may have changed since: the trials that had
not ended, and those made since then.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Sequence
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine

from storage.engine import run
from storage.frozen import frozen_trial
from storage.history import FINISHED, History
from storage.optuna_studies import OptunaStudies
from storage.sql import trials as sql

ALL_STATES = tuple(TrialState)


class OptunaReading(OptunaStudies):
    """Trials in Optuna's tables, read. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._histories: dict[int, History] = {}
        self._lock = threading.RLock()

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it is now. Raises KeyError where there is none."""
        with self._lock:
            for history in self._histories.values():
                if (known := history.finished_trial(trial_id)) is not None:
                    return known
        rows = run(self.engine, sql.ONE_TRIAL, trial_id=trial_id, detailed=[own.name for own in ALL_STATES])
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        return frozen_trial(rows[0]._asdict())

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers."""
        with self._lock:
            self._look(study_id, tuple(own for own in ALL_STATES if states is None or own in states))
            trials = self._history(study_id).trials(states)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the complete trial with the best value, the earliest of equals.

        Raises:
            RuntimeError: the study has several objectives.
            ValueError: no trial is complete.
        """
        directions = self.get_study_directions(study_id)
        if len(directions) > 1:
            raise RuntimeError("Best trial can be obtained only for single-objective optimization.")
        complete = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("No trials are completed yet.")
        sign = -1 if directions[0] == StudyDirection.MAXIMIZE else 1
        return min(complete, key=lambda own: sign * own.values[0])

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial of that number. Raises KeyError where there is none."""
        rows = run(self.engine, sql.ID_OF_NUMBER, study_id=study_id, number=trial_number)
        if not rows:
            raise KeyError(f"no trial with number {trial_number} in the study with study_id {study_id}")
        return int(rows[0].trial_id)

    def history(self, study_id: int) -> History:
        """Return what is known of a study's trials, the ended ones up to date; for pruners, which ask after reports."""
        with self._lock:
            self._look(study_id, FINISHED)
            return self._history(study_id)

    def _history(self, study_id: int) -> History:
        return self._histories.setdefault(study_id, History())

    def _since(self, study_id: int, states: Sequence[TrialState]) -> dict[str, Any]:
        """Return the arguments of NEWS. Of trials in other states than these, or ended, the outline is enough."""
        history = self._history(study_id)
        return {
            "study_id": study_id,
            "last_seen": history.last_seen,
            "unfinished": history.unfinished,
            "detailed": [own.name for own in {*FINISHED, *states}],
        }

    def _look(self, study_id: int, states: Sequence[TrialState]) -> None:
        self._known_study(study_id)  # raises KeyError where there is none
        rows = run(self.engine, sql.NEWS, **self._since(study_id, states))
        self._history(study_id).absorb(row._asdict() for row in rows)
