"""An Optuna storage for a pool of workers on PostgreSQL, on Optuna's own tables.

What is written, and when others see it. A trial that this process has created is its own: nobody else writes
parameters, attributes or reports to it. Its parameters are gathered and go out in one statement, as soon as the trial
has those that the trial before it had, or together with whatever else is written for it, or before anything of it is
read. Everything else is written when it is asked for, each thing in one statement. A trial's end carries what was
still gathered, so nobody ever sees an ended trial that is not whole.

What is read, and how often, is in `storage.optuna_reading`.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, Engine

from storage.changes import Changes, value_arguments
from storage.engine import connect, patiently, run, run_together
from storage.errors import LeaseLostError
from storage.frozen import stored_time, time_of
from storage.history import FINISHED
from storage.optuna_reading import ALL_STATES, OptunaReading, OwnTrial
from storage.slots import Claim
from storage.sql import trials as sql

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 600


@dataclass(frozen=True)
class SlotEnd:
    """How the slot of a trial ends together with the trial. Without an outcome it is handed back."""

    claim: Claim
    outcome: str | None
    user_attrs: Mapping[str, Any]


class PoolStorage(OptunaReading, BaseHeartbeat):
    """The storage that studies are given. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._ends: dict[int, SlotEnd] = {}

    def __getstate__(self) -> URL:
        return self.engine.url

    def __setstate__(self, url: URL) -> None:
        self.__init__(connect(url, "castpool"))  # type: ignore[misc]

    # --- trials begin

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, numbered without a gap. Raises KeyError where there is no such study."""
        return self._create(study_id, template_trial)

    def create_in_slot(self, claim: Claim, template: FrozenTrial) -> int:
        """Create the running trial of a slot and attach it. Raises LeaseLostError where the slot has passed on."""
        return self._create(claim.study_id, template, claim)

    def begin_in_slot(self, claim: Claim, trial_id: int, note: Mapping[str, Any]) -> bool:
        """Take a waiting trial for a slot; return whether it was still there to be taken."""
        arguments = {**claim.key, "trial_id": trial_id, "note": json.dumps(note)}
        return bool(run(self.engine, sql.BEGIN_IN_SLOT, **arguments))

    def _create(self, study_id: int, template: FrozenTrial | None, claim: Claim | None = None) -> int:
        changes = Changes() if template is None else Changes.of(template)
        state = TrialState.RUNNING if template is None else template.state
        if changes.params:
            self._check(study_id, {name: own for name, (_, own) in changes.params.items()})
        arguments = {
            "study_id": study_id,
            "state": state.name,
            "datetime_start": None if template is None else stored_time(template.datetime_start),
            "datetime_complete": None if template is None else stored_time(template.datetime_complete),
            **({} if claim is None else claim.key),
            **changes.arguments(),
            **value_arguments(None if template is None else template.values),
        }
        statement = sql.CREATE if claim is None else sql.CREATE_IN_SLOT
        lock = (sql.LOCK_STUDY, {"study_id": study_id})
        _, rows = run_together(self.engine, [lock, (statement, arguments)])
        if not rows and claim is not None:
            rows = list(run(self.engine, sql.ATTACHED, **claim.key))
            if not rows:
                raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: the lease has passed on")
        if not rows:
            raise KeyError(f"no study with study_id {study_id}")
        trial_id = int(rows[0].trial_id)
        if state == TrialState.RUNNING:
            fresh = copy.deepcopy(template or optuna.trial.create_trial(state=state))
            fresh.number, fresh._trial_id = rows[0].number, trial_id
            fresh.datetime_start = time_of(rows[0].datetime_start)
            with self._lock:
                self._fresh.discard(study_id)
                self._own[trial_id] = OwnTrial(study_id, dict(changes.system_attrs), fresh, set(changes.params))
        return trial_id

    # --- a trial runs

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter; see above for when others see it.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended.
            ValueError: other trials of the study have another distribution under this name.
        """
        change = Changes(params={param_name: (param_value_internal, distribution)})
        with self._lock:
            own = self._own.get(trial_id)
            if own is None:
                study_id = self._unfinished_study(trial_id)
                self._check(study_id, {param_name: distribution})
                self._write(trial_id, change)
                self._history(study_id).learn({param_name: distribution})
                return
            self._check(own.study_id, {param_name: distribution})
            self._history(own.study_id).learn({param_name: distribution})
            own.fresh = None
            own.names.add(param_name)
            own.gathered.add(change)
            usual = self._history(own.study_id).param_names
            if not usual or own.names == usual:
                self._write(trial_id, Changes())

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report a value. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(reports={step: intermediate_value}), is_report=True)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(user_attrs={key: value}))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute. Raises KeyError or UpdateFinishedTrialError."""
        self._write(trial_id, Changes(system_attrs={key: value}))

    def gather_user_attrs(self, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
        """Set user attributes together with whatever is written next for a trial of this process's own."""
        with self._lock:
            if (own := self._own.get(trial_id)) is None:
                self._write(trial_id, Changes(user_attrs=dict(user_attrs)))
            else:
                own.fresh = None
                own.gathered.add(Changes(user_attrs=dict(user_attrs)))

    def _write(self, trial_id: int, changes: Changes, *, is_report: bool = False) -> None:
        with self._lock:
            own = self._own.get(trial_id)
            if own is not None:
                own.fresh = None
                own.gathered.add(changes)
                changes, own.gathered = own.gathered, Changes()
                own.system_attrs |= changes.system_attrs
            arguments = {"trial_id": trial_id, **changes.arguments()}
            if is_report and own is not None and self._is_watched(own.study_id):
                rows = run(self.engine, sql.WRITE_AND_READ, **arguments, **self._since(own.study_id, FINISHED))
                written = rows[0].written
                if written:
                    self._history(own.study_id).absorb(row._asdict() for row in rows if row.trial_id is not None)
                    self._fresh.add(own.study_id)
            else:
                written = run(self.engine, sql.WRITE, **arguments)
            if not written:
                self._own.pop(trial_id, None)
                self._unfinished_study(trial_id)

    def _unfinished_study(self, trial_id: int) -> int:
        """Return the study of a trial that has not ended. Raises KeyError or UpdateFinishedTrialError."""
        rows = run(self.engine, sql.STATE, trial_id=trial_id)
        if not rows:
            raise KeyError(f"no trial with trial_id {trial_id}")
        self.check_trial_is_updatable(trial_id, TrialState[rows[0].state])
        return int(rows[0].study_id)

    def _check(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        known = self._history(study_id).distributions
        if not distributions.keys() <= known.keys():
            self._look(study_id, ALL_STATES)
        for name, distribution in distributions.items():
            if name in known:
                check_distribution_compatibility(known[name], distribution)

    # --- a trial ends

    def end_with_slot(self, trial_id: int, end: SlotEnd) -> None:
        """Let the trial's slot end in the statement that will end the trial: both, or neither."""
        self._ends[trial_id] = end

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Begin a waiting trial, or end one with its values.

        Returns:
            Whether it is done: False where somebody else has begun the trial.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended before.
            LeaseLostError: the slot that was to end with it is somebody else's.
        """
        if state == TrialState.RUNNING:
            if run(self.engine, sql.BEGIN, trial_id=trial_id):
                return True
            self._unfinished_study(trial_id)
            return False
        end = self._ends.pop(trial_id, None)
        with self._lock:
            own = self._own.pop(trial_id, None)
            if own is not None and own.names:
                self._history(own.study_id).param_names = frozenset(own.names)
        changes = Changes() if own is None else own.gathered
        arguments: dict[str, Any] = {"trial_id": trial_id, "state": state.name, **value_arguments(values)}
        if end is None:
            statement = sql.END
        else:
            statement = sql.END_AND_HAND_BACK if end.outcome is None else sql.END_WITH_SLOT
            changes.add(Changes(user_attrs=dict(end.user_attrs)))
            arguments |= {**end.claim.key, "outcome": end.outcome}
        arguments |= changes.arguments()
        attempts = 0

        def write() -> bool:
            nonlocal attempts
            attempts += 1
            with self.engine.begin() as connection:
                row = connection.exec_driver_sql(statement, arguments).one_or_none()
            return row is not None

        if not patiently(write):
            self._refuse_end(trial_id, state, end, is_repeated=attempts > 1)
        return True

    def _refuse_end(self, trial_id: int, state: TrialState, end: SlotEnd | None, *, is_repeated: bool) -> None:
        rows = run(self.engine, sql.STATE, trial_id=trial_id)
        if is_repeated and rows and rows[0].state == state.name:
            return  # only the answer was lost
        self._unfinished_study(trial_id)
        if end is not None:
            raise LeaseLostError(f"slot {end.claim.slot}, attempt {end.claim.attempt}: the lease has passed on")

    def _flush(self, trial_id: int) -> None:
        if (own := self._own.get(trial_id)) is not None and own.gathered:
            with contextlib.suppress(UpdateFinishedTrialError):  # it was taken from us; reading is no fault
                self._write(trial_id, Changes())

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
