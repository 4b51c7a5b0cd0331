"""The methods of an Optuna storage that write trials, of any process: each write at once, in one statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from castpool.private_api.optuna import BaseHeartbeat
from castpool.storage.connection.engine import retry_during_outage, run, run_together
from castpool.storage.optuna_storage.pending_writes import PendingWrites
from castpool.storage.optuna_storage.read_methods import ALL_STATES, ReadMethods
from castpool.storage.optuna_storage.row_mapping import encode_time
from castpool.storage.optuna_storage.trial_cache import FINISHED
from castpool.storage.sql import trials as sql

OPTUNA_HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 600


class WriteMethods(ReadMethods, BaseHeartbeat):
    """Reads and writes trials in Optuna's tables. Safe for the threads of one process."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, numbered without a gap. Raises KeyError where there is no such study."""
        template = template_trial or optuna.trial.create_trial(state=TrialState.RUNNING)
        statements = self._creation_statements(sql.CREATE, template, {"study_id": study_id})
        rows = run_together(self.engine, statements)[1]
        if not rows:
            raise KeyError(f"no study with study_id {study_id}")
        return int(rows[0].trial_id)

    def _creation_statements(
        self, statement: str, template: FrozenTrial, key: Mapping[str, int]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the statements that create a trial; the second returns its id, number and start."""
        writes = PendingWrites.of(template)
        self._check_distributions(
            key["study_id"], {name: distribution for name, (_, distribution) in writes.params.items()}
        )
        arguments = {
            **key,
            "state": template.state.name,
            "datetime_start": encode_time(template.datetime_start),
            "datetime_complete": encode_time(template.datetime_complete),
            **writes.arguments(),
        }
        lock = (sql.LOCK_STUDY, {"study_id": key["study_id"]})
        return [lock, (sql.with_parts(statement, writes.parts), arguments)]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended.
            ValueError: other trials of the study have another distribution under this name.
        """
        study_id = self._require_unfinished(trial_id)
        self._check_distributions(study_id, {param_name: distribution})
        self._write(trial_id, PendingWrites(params={param_name: (param_value_internal, distribution)}))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report a value. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, PendingWrites(reports={step: intermediate_value}))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, PendingWrites(user_attrs={key: value}))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, PendingWrites(system_attrs={key: value}))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Begin a waiting trial, or end one with its values.

        Returns:
            Whether it is done. False: another process has begun the trial.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it had already ended.
        """
        if state == TrialState.RUNNING:
            if run(self.engine, sql.BEGIN, trial_id=trial_id):
                return True
            self._require_unfinished(trial_id)
            return False
        if not self._end(sql.END, trial_id, state, PendingWrites(values=values or ())):
            self._require_unfinished(trial_id)
        return True

    def _write(self, trial_id: int, writes: PendingWrites) -> None:
        statement = sql.with_parts(sql.WRITE, writes.parts)
        if not run(self.engine, statement, trial_id=trial_id, is_lazy=False, **writes.arguments()):
            self._require_unfinished(trial_id)

    def _end(self, statement: str, trial_id: int, state: TrialState, writes: PendingWrites, **more: Any) -> bool:
        """End a trial; return whether it was done, also by an attempt whose answer was lost."""
        arguments = {"trial_id": trial_id, "state": state.name, **more, **writes.arguments()}
        attempts = 0

        def write() -> bool:
            nonlocal attempts
            attempts += 1
            with self.engine.begin() as connection:
                return bool(connection.exec_driver_sql(sql.with_parts(statement, writes.parts), arguments).all())

        if retry_during_outage(write):
            return True
        rows = run(self.engine, sql.STATE, trial_id=trial_id) if attempts > 1 else []
        return bool(rows) and rows[0].state == state.name

    def _require_unfinished(self, trial_id: int) -> int:
        """Return the study of a trial that has not ended. Raises KeyError or UpdateFinishedTrialError."""
        rows = run(self.engine, sql.STATE, trial_id=trial_id)
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        self.check_trial_is_updatable(trial_id, TrialState[rows[0].state])
        return int(rows[0].study_id)

    def _check_distributions(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Compare with the study's distributions and add them. Raises ValueError if one is incompatible."""
        if not distributions:
            return
        with self._lock:
            cache = self._cache(study_id)
            if not distributions.keys() <= cache.distributions.keys():
                self._refresh(study_id, ALL_STATES)
            for name, distribution in distributions.items():
                if name in cache.distributions:
                    check_distribution_compatibility(cache.distributions[name], distribution)
            cache.learn(distributions)

    # --- Optuna's heartbeat

    def record_heartbeat(self, trial_id: int) -> None:
        """Record that a trial is alive, for tools that read Optuna's heartbeat; castpool uses the slot's lease."""
        run(self.engine, sql.BEAT, trial_id=trial_id)

    def get_heartbeat_interval(self) -> int:
        """Return the seconds between two heartbeats under `study.optimize`."""
        return OPTUNA_HEARTBEAT_SECONDS

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        """Return None: the reaper retries trials."""
        return None

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        with self._lock:
            self._refresh(study_id, FINISHED)
            unfinished = self._cache(study_id).unfinished
        rows = run(self.engine, sql.STALE, unfinished=unfinished, grace_seconds=GRACE_SECONDS)
        return [row.trial_id for row in rows]
