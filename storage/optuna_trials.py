"""An Optuna storage for a pool of workers on PostgreSQL, on Optuna's own tables.

The trial of a slot that this process holds is its own: while it runs, nobody else writes parameters, attributes or
reports to it. For such a trial these rules hold; any other is written as Optuna writes it, each thing at once.

What is gathered. While its parameters are chosen, they and the sampler's notes wait for what is written next: the
configuration, before the training starts. So all of it goes out in one statement, and others see it milliseconds
after it was chosen. Its sampler sees the study as it was when the trial was created: the creation brings the news.

What waits for the disk. Creation and end do; reports and what else a running trial writes do not: others see it at
once, and a server that crashes loses half a second of it at most. The end says all of it again, so that no ended trial
lacks anything, and so does a checkpoint, from which another process will go on without this one's memory.

Where no pruner asks, the reports of a second wait for each other; those of ten where the server has too few connections
for all workers, since then each is a connection.

What is read, and how often, is in `storage.optuna_reading`.
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

from storage.changes import Changes
from storage.engine import connect, run, run_together
from storage.errors import LeaseLostError
from storage.frozen import time_of
from storage.history import FINISHED, History
from storage.optuna_reading import ALL_STATES
from storage.optuna_writing import OptunaWriting
from storage.own_trial import OwnTrial, SlotEnd
from storage.slots import Claim
from storage.sql import trials as sql
from storage.thrift import is_short


class PoolStorage(OptunaWriting):
    """The storage that studies are given. Safe for the threads of one process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._own: dict[int, OwnTrial] = {}
        self._ends: dict[int, SlotEnd] = {}
        # For each study the own trial whose parameters are being chosen.
        self._sampling: dict[int, int] = {}
        # Studies whose news were asked for since the last report, and those whose news the last report has brought.
        self._asked: set[int] = set()
        self._fresh: set[int] = set()

    def __getstate__(self) -> URL:
        return self.engine.url

    def __setstate__(self, url: URL) -> None:
        self.__init__(connect(url, "castpool"))  # type: ignore[misc]

    # --- trials of slots begin

    def create_in_slot(self, claim: Claim, template: FrozenTrial, *, yields: bool = False) -> int | None:
        """Create the running trial of a slot and attach it.

        Args:
            claim: the slot.
            template: what the trial has from the start.
            yields: create none where one waits that somebody has enqueued through Optuna.

        Returns:
            Its id, or None where it yielded.

        Raises:
            LeaseLostError: the slot has passed on.
        """
        study_id = claim.study_id
        with self._lock:
            history = self._history(study_id)
            if history.last_seen < 0:
                self._look(study_id, ALL_STATES)  # all that was there is read once, and nobody waits for it
            look = self._since(study_id, ALL_STATES)
            (lock, (statement, arguments)) = self._creation(sql.CREATE_IN_SLOT, template, claim.key)
            create = (statement, arguments | look | {"yields": yields})
            _, rows, news = run_together(self.engine, [lock, create], [(sql.NEWS, look)])
            history.absorb(row._asdict() for row in news)
            self._fresh.discard(study_id)
            if not rows and yields and any(own.state == TrialState.WAITING for own in history.running):
                return None
            # Asked again after a lost answer, it has made none: the trial is there.
            rows = rows or list(run(self.engine, sql.ATTACHED, **claim.key))
            if not rows:
                raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: the lease has passed on")
            created = copy.deepcopy(template)
            created.number, created._trial_id = rows[0].number, int(rows[0].trial_id)
            created.datetime_start = time_of(rows[0].datetime_start)
            own = OwnTrial(study_id, created, written=Changes(system_attrs=dict(created.system_attrs)))
            self._own[created._trial_id], self._sampling[study_id] = own, created._trial_id
        return created._trial_id

    def begin_in_slot(self, claim: Claim, queued: FrozenTrial, note: Mapping[str, Any]) -> bool:
        """Take a waiting trial for a slot; return whether it was still there to be taken."""
        arguments = {**claim.key, "trial_id": queued._trial_id, "note": json.dumps(note)}
        if not run(self.engine, sql.BEGIN_IN_SLOT, **arguments):
            return False
        written = Changes(system_attrs=dict(queued.system_attrs))
        self._own[queued._trial_id] = OwnTrial(claim.study_id, None, written=written)
        self._sampling[claim.study_id] = queued._trial_id
        return True

    # --- they run

    def gather_user_attrs(self, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
        """Set user attributes together with whatever is written next for the trial of a slot."""
        self._gather(trial_id, Changes(user_attrs=dict(user_attrs)))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter; see above for when others see it, and `OptunaWriting` for what is raised."""
        if (own := self._own.get(trial_id)) is None:
            return super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._check(own.study_id, {param_name: distribution})
        self._gather(trial_id, Changes(params={param_name: (param_value_internal, distribution)}))
        if trial_id not in self._sampling.values():
            self.flush(trial_id)
        return None

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute; see above for when others see it. Raises KeyError or UpdateFinishedTrialError."""
        if trial_id in self._sampling.values():
            self._gather(trial_id, Changes(system_attrs={key: value}))
        else:
            super().set_trial_system_attr(trial_id, key, value)

    def _gather(self, trial_id: int, changes: Changes) -> None:
        with self._lock:
            self._own[trial_id].gathered.add(changes)

    def flush(self, trial_id: int) -> None:
        """Write what is gathered for a trial of this process's own, if anything is."""
        if (own := self._own.get(trial_id)) is not None and own.gathered:
            self._write(trial_id, Changes())

    def flush_reports(self, trial_id: int) -> None:
        """Write what is gathered if there are reports in it: never while parameters are still being chosen."""
        if (own := self._own.get(trial_id)) is not None and own.gathered.reports:
            self._write(trial_id, Changes())

    def _may_wait(self, own: OwnTrial) -> bool:
        """Whether a report may wait for the next: nobody decides by it, and people see the last one soon enough."""
        return own.study_id not in self._asked and own.has_just_written(is_short=is_short(self.engine))

    def secure(self, trial_id: int) -> None:
        """Write again all that a server which crashes might lose of a trial of this process's own, and wait for it."""
        with self._lock:
            if (own := self._own.get(trial_id)) is not None:
                own.gathered = own.everything
                self._write(trial_id, Changes(), is_lazy=False)

    def _write(self, trial_id: int, changes: Changes, *, is_lazy: bool = True) -> None:
        is_report = bool(changes.reports)
        with self._lock:
            if (own := self._own.get(trial_id)) is None:
                return super()._write(trial_id, changes)
            if self._sampling.get(own.study_id) == trial_id:
                del self._sampling[own.study_id]
            own.gathered.add(changes)
            if is_report and self._may_wait(own):
                return None
            changes, own.gathered = own.gathered, Changes()
            own.written_at = time.monotonic()
            own.written.add(changes)
            arguments = {"trial_id": trial_id, "is_lazy": is_lazy, **changes.arguments()}
            if changes.reports and own.study_id in self._asked:
                # Who asked after the last report will ask after this one.
                self._asked.remove(own.study_id)
                statement = sql.with_parts(sql.WRITE_AND_READ, changes.parts)
                rows = run(self.engine, statement, **arguments, **self._since(own.study_id, FINISHED))
                is_written = bool(rows[0].written)
                if is_written:
                    self._history(own.study_id).absorb(row._asdict() for row in rows if row.trial_id is not None)
                    self._fresh.add(own.study_id)
            else:
                is_written = bool(run(self.engine, sql.with_parts(sql.WRITE, changes.parts), **arguments))
            if not is_written:
                del self._own[trial_id]
                self._unfinished_study(trial_id)
            return None

    # --- they are read

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it is now; this process's own without asking. Raises KeyError where there is none."""
        with self._lock:
            own = self._own.get(trial_id)
            if own is not None and (trial := own.as_it_is()) is not None:
                return trial
            with contextlib.suppress(UpdateFinishedTrialError):  # it was taken from us; reading is no fault
                self.flush(trial_id)
        return super().get_trial(trial_id)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's system attributes; those of this process's own trials without asking the server."""
        with self._lock:
            if (own := self._own.get(trial_id)) is not None:
                return own.written.system_attrs | own.gathered.system_attrs
        return self.get_trial(trial_id).system_attrs

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers; see above while one samples."""
        with self._lock:
            if study_id in self._sampling:
                trials = self._history(study_id).trials(states)
                return copy.deepcopy(trials) if deepcopy else trials
            return super().get_all_trials(study_id, deepcopy, states)

    def history(self, study_id: int) -> History:
        """Return what is known of a study's trials, the ended ones up to date; for pruners, which ask after reports.

        Where one asks after every report, the report itself brings the news, so that asking costs nothing.
        """
        with self._lock:
            self._asked.add(study_id)
            if study_id not in self._fresh:
                return super().history(study_id)
            self._fresh.remove(study_id)
            return self._history(study_id)

    # --- they end

    def end_with_slot(self, trial_id: int, end: SlotEnd) -> None:
        """Let the trial's slot end in the statement that will end the trial: both, or neither."""
        self._ends[trial_id] = end

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Begin a waiting trial, or end one with its values, and its slot with it where that was asked for.

        Returns and raises what `OptunaWriting` does, and LeaseLostError: the slot is somebody else's.
        """
        end = self._ends.pop(trial_id, None)
        with self._lock:
            own = self._own.pop(trial_id, None)
            if own is not None and self._sampling.get(own.study_id) == trial_id:
                del self._sampling[own.study_id]
        if end is None and own is None:
            return super().set_trial_state_values(trial_id, state, values)
        changes = Changes() if own is None else own.everything
        changes.values = values or ()
        statement, arguments = sql.END, {}
        if end is not None:
            changes.add(Changes(user_attrs=dict(end.user_attrs)))
            statement, arguments = sql.END_WITH_SLOT, end.arguments
        if not self._end(statement, trial_id, state, changes, **arguments):
            self._unfinished_study(trial_id)
            if end is not None:
                raise LeaseLostError(f"slot {end.claim.slot}, attempt {end.claim.attempt}: the lease has passed on")
        return True
