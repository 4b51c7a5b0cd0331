"""The part of an Optuna storage that writes trials: anybody's, each thing when it is asked for, in one statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from storage.changes import Changes
from storage.engine import patiently, run, run_together
from storage.frozen import stored_time
from storage.history import FINISHED
from storage.optuna_reading import ALL_STATES, OptunaReading
from storage.sql import trials as sql

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 600


class OptunaWriting(OptunaReading, BaseHeartbeat):
    """Trials in Optuna's tables, read and written. Safe for the threads of one process."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, numbered without a gap. Raises KeyError where there is no such study."""
        template = template_trial or optuna.trial.create_trial(state=TrialState.RUNNING)
        statements = self._creation(sql.CREATE, template, {"study_id": study_id})
        rows = run_together(self.engine, statements)[1]
        if not rows:
            raise KeyError(f"no study with study_id {study_id}")
        return int(rows[0].trial_id)

    def _creation(
        self, statement: str, template: FrozenTrial, key: Mapping[str, int]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the statements that create a trial; the second returns its id, number and start."""
        changes = Changes.of(template)
        self._check(key["study_id"], {name: own for name, (_, own) in changes.params.items()})
        arguments = {
            **key,
            "state": template.state.name,
            "datetime_start": stored_time(template.datetime_start),
            "datetime_complete": stored_time(template.datetime_complete),
            **changes.arguments(),
        }
        lock = (sql.LOCK_STUDY, {"study_id": key["study_id"]})
        return [lock, (sql.with_parts(statement, changes.parts), arguments)]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended.
            ValueError: other trials of the study have another distribution under this name.
        """
        study_id = self._unfinished_study(trial_id)
        self._check(study_id, {param_name: distribution})
        self._write(trial_id, Changes(params={param_name: (param_value_internal, distribution)}))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report a value. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(reports={step: intermediate_value}))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(user_attrs={key: value}))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(system_attrs={key: value}))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Begin a waiting trial, or end one with its values.

        Returns:
            Whether it is done: False where somebody else has begun the trial.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended before.
        """
        if state == TrialState.RUNNING:
            if run(self.engine, sql.BEGIN, trial_id=trial_id):
                return True
            self._unfinished_study(trial_id)
            return False
        if not self._end(sql.END, trial_id, state, Changes(values=values or ())):
            self._unfinished_study(trial_id)
        return True

    def _write(self, trial_id: int, changes: Changes) -> None:
        statement = sql.with_parts(sql.WRITE, changes.parts)
        if not run(self.engine, statement, trial_id=trial_id, is_lazy=False, **changes.arguments()):
            self._unfinished_study(trial_id)

    def _end(self, statement: str, trial_id: int, state: TrialState, changes: Changes, **more: Any) -> bool:
        """End a trial; return whether it was done, by an attempt whose answer was lost too."""
        arguments = {"trial_id": trial_id, "state": state.name, **more, **changes.arguments()}
        attempts = 0

        def write() -> bool:
            nonlocal attempts
            attempts += 1
            with self.engine.begin() as connection:
                return bool(connection.exec_driver_sql(sql.with_parts(statement, changes.parts), arguments).all())

        if patiently(write):
            return True
        rows = run(self.engine, sql.STATE, trial_id=trial_id) if attempts > 1 else []
        return bool(rows) and rows[0].state == state.name

    def _unfinished_study(self, trial_id: int) -> int:
        """Return the study of a trial that has not ended. Raises KeyError or UpdateFinishedTrialError."""
        rows = run(self.engine, sql.STATE, trial_id=trial_id)
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        self.check_trial_is_updatable(trial_id, TrialState[rows[0].state])
        return int(rows[0].study_id)

    def _check(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Compare with the study's distributions, and remember. Raises ValueError where one is of another kind."""
        if not distributions:
            return
        with self._lock:
            history = self._history(study_id)
            if not distributions.keys() <= history.distributions.keys():
                self._look(study_id, ALL_STATES)
            for name, distribution in distributions.items():
                if name in history.distributions:
                    check_distribution_compatibility(history.distributions[name], distribution)
            history.learn(distributions)

    # --- Optuna's heartbeat

    def record_heartbeat(self, trial_id: int) -> None:
        """Write down that a trial is alive, for whoever watches with Optuna; what counts is the slot's lease."""
        run(self.engine, sql.BEAT, trial_id=trial_id)

    def get_heartbeat_interval(self) -> int:
        """Return the seconds between two heartbeats under Optuna's own `optimize`."""
        return HEARTBEAT_SECONDS

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        """Return None: retries are the reaper's."""
        return None

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        with self._lock:
            self._look(study_id, FINISHED)
            unfinished = self._history(study_id).unfinished
        return [own.trial_id for own in run(self.engine, sql.STALE, unfinished=unfinished, grace_seconds=GRACE_SECONDS)]
