"""The half of an Optuna storage that reads trials.

Ended trials never change, so each is read once. One statement brings what may have changed since: the trials that had
not ended, and those made since then.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine

from storage.changes import Changes
from storage.engine import run
from storage.frozen import frozen_trial
from storage.history import FINISHED, History
from storage.optuna_studies import OptunaStudies
from storage.sql import trials as sql

ALL_STATES = tuple(TrialState)


@dataclass
class OwnTrial:
    """A running trial that this process has created: nobody else writes to it.

    Attributes:
        study_id: its study.
        system_attrs: as written.
        fresh: the trial as created, until the first look or write.
        names: of its parameters so far.
        gathered: what is still to be written.
    """

    study_id: int
    system_attrs: dict[str, Any]
    fresh: FrozenTrial | None
    names: set[str] = field(default_factory=set)
    gathered: Changes = field(default_factory=Changes)


class OptunaReading(OptunaStudies):
    """Trials in Optuna's tables, read. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._histories: dict[int, History] = {}
        self._own: dict[int, OwnTrial] = {}
        # Studies whose news were asked for since the last report, and those whose news the last report has brought.
        self._asked: set[int] = set()
        self._fresh: set[int] = set()
        self._lock = threading.RLock()

    def _flush(self, trial_id: int) -> None:
        """Write what is gathered for a trial of this process's own, if anything is."""
        raise NotImplementedError

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it is now. Raises KeyError where there is none."""
        with self._lock:
            for history in self._histories.values():
                if (known := history.finished_trial(trial_id)) is not None:
                    return known
            if (own := self._own.get(trial_id)) is not None and own.fresh is not None:
                fresh, own.fresh = own.fresh, None
                return fresh
            self._flush(trial_id)
        rows = run(self.engine, sql.ONE_TRIAL, trial_id=trial_id, detailed=[own.name for own in ALL_STATES])
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        return frozen_trial(rows[0]._asdict())

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's system attributes; those of this process's own trials without asking the server."""
        with self._lock:
            if (own := self._own.get(trial_id)) is not None:
                return own.system_attrs | own.gathered.system_attrs
        return self.get_trial(trial_id).system_attrs

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers."""
        with self._lock:
            for trial_id in [own_id for own_id, own in self._own.items() if own.study_id == study_id]:
                self._flush(trial_id)
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
        """Return what is known of a study's trials, the ended ones up to date; for pruners, which ask after reports.

        Where one asks after every report, the report itself brings the news, so that asking costs nothing.
        """
        with self._lock:
            self._asked.add(study_id)
            if study_id in self._fresh:
                self._fresh.remove(study_id)
            else:
                self._look(study_id, FINISHED)
            return self._history(study_id)

    def _is_watched(self, study_id: int) -> bool:
        was_asked = study_id in self._asked
        self._asked.discard(study_id)
        return was_asked

    def _history(self, study_id: int) -> History:
        return self._histories.setdefault(study_id, History())

    def _since(self, study_id: int, states: Sequence[TrialState]) -> dict[str, Any]:
        history = self._history(study_id)
        detailed = [own.name for own in {*FINISHED, *states}]
        return {
            "study_id": study_id,
            "last_seen": history.last_seen,
            "unfinished": history.unfinished,
            "detailed": detailed,
        }

    def _look(self, study_id: int, states: Sequence[TrialState]) -> None:
        self._known_study(study_id)  # raises KeyError where there is none
        rows = run(self.engine, sql.NEWS, **self._since(study_id, states))
        self._history(study_id).absorb(row._asdict() for row in rows)
