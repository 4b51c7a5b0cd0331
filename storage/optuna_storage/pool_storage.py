"""An Optuna storage for a pool of workers on PostgreSQL, on Optuna's own tables.

The running trial of a slot that this process holds is an owned trial: no other process writes its parameters,
attributes or reports. The rules below hold for owned trials. Any other trial is written as Optuna writes it, at once.

Pending writes. While the parameters are sampled, they and the sampler's attributes wait for the next write: the
configuration, before the training starts. So one statement sends all of it, and other processes see it milliseconds
after it was sampled. The sampler sees the study as it was when the trial was created: the creation reads the news.

Waiting for the disk. The creation and the end wait for it. Other writes of a running trial do not: other processes see
them at once, and a crash of the server loses half a second of them at most. The end repeats all writes, so no ended
trial lacks any, and so does a checkpoint, from which another process resumes without this one's memory.

Where no pruner reads the reports, those of one second are sent together; those of ten seconds where the server has too
few connections for all workers, since each write then opens a connection.

`read_methods` explains what is read, and when.
"""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, Engine

from castpool.private_api.optuna import set_trial_id, trial_id_of
from castpool.storage.budget.slots import Claim
from castpool.storage.connection.engine import connect, run, run_together
from castpool.storage.connection.idle_connections import is_short_of_connections
from castpool.storage.errors import LeaseLostError
from castpool.storage.optuna_storage.owned_trial import OwnedTrial, SlotEnding
from castpool.storage.optuna_storage.pending_writes import PendingWrites
from castpool.storage.optuna_storage.read_methods import ALL_STATES
from castpool.storage.optuna_storage.row_mapping import decode_time
from castpool.storage.optuna_storage.trial_cache import FINISHED, TrialCache
from castpool.storage.optuna_storage.write_methods import WriteMethods
from castpool.storage.sql import trials as sql


class PoolStorage(WriteMethods):
    """The Optuna storage of every castpool study. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._owned: dict[int, OwnedTrial] = {}
        self._slot_endings: dict[int, SlotEnding] = {}
        # By study: the owned trial whose parameters are being sampled.
        self._sampling: dict[int, int] = {}
        # Studies whose trial cache was read since the last report, and those whose news the last report has read.
        self._studies_read: set[int] = set()
        self._fresh: set[int] = set()

    def __getstate__(self) -> URL:
        return self.engine.url

    def __setstate__(self, url: URL) -> None:
        self.__init__(connect(url, "castpool"))  # type: ignore[misc]

    # --- begin trials of slots

    def create_in_slot(self, claim: Claim, template: FrozenTrial, *, yields: bool = False) -> int | None:
        """Create the running trial of a slot and attach it.

        Args:
            claim: the slot.
            template: the state and attributes that the trial has from the start.
            yields: create none if a trial waits in Optuna's queue (`study.enqueue_trial`).

        Returns:
            The trial's id, or None if it yielded.

        Raises:
            LeaseLostError: another worker has the lease.
        """
        study_id = claim.study_id
        with self._lock:
            cache = self._cache(study_id)
            if cache.last_seen < 0:
                self._refresh(study_id, ALL_STATES)  # the existing trials are read once, before the lock is taken
            look = self._news_arguments(study_id, ALL_STATES)
            (lock, (statement, arguments)) = self._creation_statements(sql.CREATE_IN_SLOT, template, claim.key)
            create = (statement, arguments | look | {"yields": yields})
            _, rows, news = run_together(self.engine, [lock, create], [(sql.NEWS, look)])
            cache.absorb(row._asdict() for row in news)
            self._fresh.discard(study_id)
            if not rows and yields and any(trial.state == TrialState.WAITING for trial in cache.running):
                return None
            # No row either if a repeat after a lost answer finds the trial created: then it is attached.
            rows = rows or list(run(self.engine, sql.ATTACHED, **claim.key))
            if not rows:
                raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: lease lost to another worker")
            created = copy.deepcopy(template)
            created.number, created.datetime_start = rows[0].number, decode_time(rows[0].datetime_start)
            set_trial_id(created, trial_id := int(rows[0].trial_id))
            written = PendingWrites(system_attrs=dict(created.system_attrs))
            self._owned[trial_id] = OwnedTrial(study_id, created, written=written)
            self._sampling[study_id] = trial_id
        return trial_id

    def begin_in_slot(self, claim: Claim, queued: FrozenTrial, note: Mapping[str, Any]) -> bool:
        """Begin a waiting trial in a slot; return whether it was still waiting."""
        arguments = {**claim.key, "trial_id": trial_id_of(queued), "note": json.dumps(note)}
        if not run(self.engine, sql.BEGIN_IN_SLOT, **arguments):
            return False
        written = PendingWrites(system_attrs=dict(queued.system_attrs))
        self._owned[trial_id_of(queued)] = OwnedTrial(claim.study_id, None, written=written)
        self._sampling[claim.study_id] = trial_id_of(queued)
        return True

    # --- write running trials

    def gather_user_attrs(self, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
        """Set user attributes together with the next write of an owned trial."""
        self._gather(trial_id, PendingWrites(user_attrs=dict(user_attrs)))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter; the module says when other processes see it, `WriteMethods` what is raised."""
        if (trial := self._owned.get(trial_id)) is None:
            return super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._check_distributions(trial.study_id, {param_name: distribution})
        self._gather(trial_id, PendingWrites(params={param_name: (param_value_internal, distribution)}))
        if trial_id not in self._sampling.values():
            self.flush(trial_id)
        return None

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute; the module says when others see it. Raises KeyError or UpdateFinishedTrialError."""
        if trial_id in self._sampling.values():
            self._gather(trial_id, PendingWrites(system_attrs={key: value}))
        else:
            super().set_trial_system_attr(trial_id, key, value)

    def _gather(self, trial_id: int, writes: PendingWrites) -> None:
        with self._lock:
            self._owned[trial_id].gathered.add(writes)

    def flush(self, trial_id: int) -> None:
        """Send the pending writes of an owned trial, if there are any."""
        if (trial := self._owned.get(trial_id)) is not None and trial.gathered:
            self._write(trial_id, PendingWrites())

    def flush_reports(self, trial_id: int) -> None:
        """Send the pending writes of an owned trial if they have reports: never while parameters are sampled."""
        if (trial := self._owned.get(trial_id)) is not None and trial.gathered.reports:
            self._write(trial_id, PendingWrites())

    def _may_wait(self, trial: OwnedTrial) -> bool:
        """Whether a report may wait for the next one: no pruner reads it, and the last write was recent."""
        is_short = is_short_of_connections(self.engine)
        return trial.study_id not in self._studies_read and trial.has_just_written(is_short=is_short)

    def secure(self, trial_id: int) -> None:
        """Write again, and to disk, everything of an owned trial that a crash of the server might lose."""
        with self._lock:
            if (trial := self._owned.get(trial_id)) is not None:
                trial.gathered = trial.all_writes
                self._write(trial_id, PendingWrites(), is_lazy=False)

    def _write(self, trial_id: int, writes: PendingWrites, *, is_lazy: bool = True) -> None:
        is_report = bool(writes.reports)
        with self._lock:
            if (trial := self._owned.get(trial_id)) is None:
                return super()._write(trial_id, writes)
            if self._sampling.get(trial.study_id) == trial_id:
                del self._sampling[trial.study_id]
            trial.gathered.add(writes)
            if is_report and self._may_wait(trial):
                return None
            writes, trial.gathered = trial.gathered, PendingWrites()
            trial.written_at = time.monotonic()
            trial.written.add(writes)
            arguments = {"trial_id": trial_id, "is_lazy": is_lazy, **writes.arguments()}
            if writes.reports and trial.study_id in self._studies_read:
                # A pruner that read the cache after the last report reads it after this one.
                self._studies_read.remove(trial.study_id)
                statement = sql.with_parts(sql.WRITE_AND_READ, writes.parts)
                rows = run(self.engine, statement, **arguments, **self._news_arguments(trial.study_id, FINISHED))
                is_written = bool(rows[0].written)
                if is_written:
                    self._cache(trial.study_id).absorb(row._asdict() for row in rows if row.trial_id is not None)
                    self._fresh.add(trial.study_id)
            else:
                is_written = bool(run(self.engine, sql.with_parts(sql.WRITE, writes.parts), **arguments))
            if not is_written:
                del self._owned[trial_id]
                self._require_unfinished(trial_id)
            return None

    # --- read trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it is now; an owned one without a statement. Raises KeyError where there is none."""
        with self._lock:
            owned = self._owned.get(trial_id)
            if owned is not None and (trial := owned.current_state()) is not None:
                return trial
            with contextlib.suppress(UpdateFinishedTrialError):  # another worker has the slot: no error for a reader
                self.flush(trial_id)
        return super().get_trial(trial_id)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's system attributes; those of owned trials without a statement."""
        with self._lock:
            if (trial := self._owned.get(trial_id)) is not None:
                return trial.written.system_attrs | trial.gathered.system_attrs
        return self.get_trial(trial_id).system_attrs

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, or all, by number; while a trial samples, as of its creation."""
        with self._lock:
            if study_id in self._sampling:
                trials = self._cache(study_id).trials(states)
                return copy.deepcopy(trials) if deepcopy else trials
            return super().get_all_trials(study_id, deepcopy, states)

    def trial_cache(self, study_id: int) -> TrialCache:
        """Return the study's trial cache with all ended trials; for pruners, which need it after a report.

        Where a pruner reads it after every report, the report's own statement reads the news as well.
        """
        with self._lock:
            self._studies_read.add(study_id)
            if study_id not in self._fresh:
                return super().trial_cache(study_id)
            self._fresh.remove(study_id)
            return self._cache(study_id)

    # --- end trials

    def end_with_slot(self, trial_id: int, end: SlotEnding) -> None:
        """Set how the trial's slot ends, in the same statement as the trial: both end, or neither."""
        self._slot_endings[trial_id] = end

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Begin a waiting trial, or end one with its values, and its slot after `end_with_slot`.

        Returns and raises what `WriteMethods` does, and LeaseLostError: another worker has the slot's lease.
        """
        end = self._slot_endings.pop(trial_id, None)
        with self._lock:
            trial = self._owned.pop(trial_id, None)
            if trial is not None and self._sampling.get(trial.study_id) == trial_id:
                del self._sampling[trial.study_id]
        if end is None and trial is None:
            return super().set_trial_state_values(trial_id, state, values)
        writes = PendingWrites() if trial is None else trial.all_writes
        writes.values = values or ()
        statement, arguments = sql.END, {}
        if end is not None:
            writes.add(PendingWrites(user_attrs=dict(end.user_attrs)))
            statement, arguments = sql.END_WITH_SLOT, end.arguments
        if not self._end(statement, trial_id, state, writes, **arguments):
            self._require_unfinished(trial_id)
            if end is not None:
                claim = end.claim
                raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: lease lost to another worker")
        return True
