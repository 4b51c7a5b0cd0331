"""The methods of an Optuna storage that read trials.

Ended trials never change, so each is read once. One statement reads what may have changed since: the trials that had
not ended, and those created since then.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Sequence
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine

from castpool.storage.connection.engine import run
from castpool.storage.optuna_storage.row_mapping import decode_trial
from castpool.storage.optuna_storage.study_methods import StudyMethods
from castpool.storage.optuna_storage.trial_cache import FINISHED, TrialCache
from castpool.storage.sql import trials as sql

ALL_STATES = tuple(TrialState)


class ReadMethods(StudyMethods):
    """Reads trials in Optuna's tables. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._caches: dict[int, TrialCache] = {}
        self._lock = threading.RLock()

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it is now. Raises KeyError where there is none."""
        with self._lock:
            for cache in self._caches.values():
                if (known := cache.finished_trial(trial_id)) is not None:
                    return known
        rows = run(self.engine, sql.ONE_TRIAL, trial_id=trial_id, detailed=[state.name for state in ALL_STATES])
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        return decode_trial(rows[0]._asdict())

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers."""
        with self._lock:
            self._refresh(study_id, tuple(state for state in ALL_STATES if states is None or state in states))
            trials = self._cache(study_id).trials(states)
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
        return min(complete, key=lambda trial: sign * trial.values[0])

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial of that number. Raises KeyError where there is none."""
        rows = run(self.engine, sql.ID_OF_NUMBER, study_id=study_id, number=trial_number)
        if not rows:
            raise KeyError(f"no trial with number {trial_number} in the study with study_id {study_id}")
        return int(rows[0].trial_id)

    def trial_cache(self, study_id: int) -> TrialCache:
        """Return the study's trial cache with all ended trials; for pruners, which need it after a report."""
        with self._lock:
            self._refresh(study_id, FINISHED)
            return self._cache(study_id)

    def _cache(self, study_id: int) -> TrialCache:
        return self._caches.setdefault(study_id, TrialCache())

    def _news_arguments(self, study_id: int, states: Sequence[TrialState]) -> dict[str, Any]:
        """Return the arguments of NEWS. Trials in ``states`` and ended ones are read completely, others in outline."""
        cache = self._cache(study_id)
        return {
            "study_id": study_id,
            "last_seen": cache.last_seen,
            "unfinished": cache.unfinished,
            "detailed": [state.name for state in {*FINISHED, *states}],
        }

    def _refresh(self, study_id: int, states: Sequence[TrialState]) -> None:
        self._known_study(study_id)  # raises KeyError where there is none
        rows = run(self.engine, sql.NEWS, **self._news_arguments(study_id, states))
        self._cache(study_id).absorb(row._asdict() for row in rows)
