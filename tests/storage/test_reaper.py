"""Expired leases: the attempt fails, the slot opens, both or neither; and what was told is never undone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from storage import reaper, roster, slots
from storage.engine import connect
from storage.errors import LeaseLostError
from storage.slots import Claim, SlotCounts
from storage.store import Store
from storage.studies import StoredStudy
from storage.trials import begin_trial
from tests.storage.helpers import (
    breaking_before_statement,
    claimed,
    eventually,
    execute,
    expire,
    joined,
    load,
    make_study,
    slot_row,
    started,
    watcher,
)

WAITING_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def stored(store: Store) -> StoredStudy:
    return make_study(store, trials=3)


def reap(store: Store, stored: StoredStudy) -> list[int]:
    return reaper.reap(store.engine, stored.study_id)


def frozen(store: Store, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return load(store).trials[trial.number]


def test_an_expired_lease_fails_its_trial_and_opens_its_slot(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    expire(store, claim)

    assert reap(store, stored) == [0]

    ended = frozen(store, trial)
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["reason"] == "lost: the worker stopped beating"
    assert ended.intermediate_values == {1: 0.5}, "what it reported stays"
    row = slot_row(store, claim)
    assert (row.worker_id, row.lease_until, row.ended_at, row.outcome) == (None, None, None, None)
    assert claimed(store, stored).retry_of == trial._trial_id


def test_a_lease_that_has_not_expired_is_left_alone(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    before = slot_row(store, claim)

    assert reap(store, stored) == []
    assert slot_row(store, claim) == before
    assert frozen(store, trial).state == TrialState.RUNNING


def test_another_studys_leases_are_left_alone(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, make_study(store, "other"))
    expire(store, claim)

    assert reap(store, stored) == []


@pytest.mark.parametrize(
    ("state", "value", "outcome"), [(TrialState.COMPLETE, 0.25, "complete"), (TrialState.PRUNED, None, "pruned")]
)
def test_a_trial_that_was_told_before_its_worker_died_ends_its_slot(
    store: Store, stored: StoredStudy, state: TrialState, value: float | None, outcome: str
) -> None:
    claim, trial = started(store, stored)
    load(store).tell(trial, value, state)
    told = frozen(store, trial)
    expire(store, claim)

    assert reap(store, stored) == [0]

    row = slot_row(store, claim)
    assert (row.outcome, row.lease_until, row.worker_id) == (outcome, None, claim.worker_id)
    assert row.ended_at is not None
    assert frozen(store, trial) == told
    assert claimed(store, stored).slot == 1, "it is not retried"


def test_a_trial_that_was_told_as_failed_is_retried(store: Store, stored: StoredStudy) -> None:
    """That is what a slot on its way back looks like."""
    claim, trial = started(store, stored)
    trial.set_user_attr("reason", "handed back")
    load(store).tell(trial, state=TrialState.FAIL)
    expire(store, claim)

    assert reap(store, stored) == [0]
    assert frozen(store, trial).user_attrs["reason"] == "handed back"
    assert claimed(store, stored).retry_of == trial._trial_id


def test_a_lease_without_a_trial_opens_its_slot(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    expire(store, claim)

    assert reap(store, stored) == [0]
    again = claimed(store, stored)
    assert (again.slot, again.attempt, again.retry_of) == (0, 2, None)


def test_a_trial_that_was_not_attached_in_time_is_failed_too(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    trial = begin_trial(load(store), claim, {})
    reap(store, stored)
    assert frozen(store, trial).state == TrialState.RUNNING, "its worker may be about to attach it"

    expire(store, claim)
    reap(store, stored)

    ended = frozen(store, trial)
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["reason"] == "lost: the worker did not hold its slot any more"
    with pytest.raises(LeaseLostError):
        slots.attach(store.engine, claim, trial._trial_id)


def test_a_trial_that_was_made_for_a_slot_which_another_has_taken_is_failed(store: Store, stored: StoredStudy) -> None:
    late = claimed(store, stored)
    expire(store, late)
    reap(store, stored)
    _, trial = started(store, stored)
    zombie = begin_trial(load(store), late, {})
    reap(store, stored)

    assert frozen(store, trial).state == TrialState.RUNNING
    assert frozen(store, zombie).state == TrialState.FAIL


def test_a_trial_that_a_user_runs_in_the_same_study_is_left_alone(store: Store, stored: StoredStudy) -> None:
    own = load(store)
    trial = optuna.Trial(own, store.trials.create_new_trial(own._study_id))

    reap(store, stored)
    assert frozen(store, trial).state == TrialState.RUNNING


def test_failing_and_opening_are_one_transaction(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    expire(store, claim)
    before = slot_row(store, claim)
    execute(store, "ALTER TABLE castpool_slots ADD CONSTRAINT held CHECK (worker_id IS NOT NULL) NOT VALID")
    try:
        with pytest.raises(Exception, match="violates check constraint"):
            reap(store, stored)
    finally:
        execute(store, "ALTER TABLE castpool_slots DROP CONSTRAINT held")

    assert slot_row(store, claim) == before
    assert frozen(store, trial).state == TrialState.RUNNING
    assert reap(store, stored) == [0]


def test_a_broken_connection_is_waited_out(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    expire(store, claim)

    with breaking_before_statement(store.engine) as cut:
        assert reap(store, stored) == [0]
    assert cut


def test_four_reapers_at_once_do_it_once(store: Store) -> None:
    stored = make_study(store, trials=12)
    worker = joined(store, stored)
    work = [started(store, stored, worker) for _ in range(12)]
    expire(store, *(claim for claim, _ in work))
    together = threading.Barrier(4)

    def reap_together() -> list[int]:
        engine = connect(store.url, "reaper")
        together.wait()
        reaped = reaper.reap(engine, stored.study_id)
        engine.dispose()
        return reaped

    with ThreadPoolExecutor(4) as pool:
        reaping = [pool.submit(reap_together) for _ in range(4)]
    reaped = [slot for future in reaping for slot in future.result()]

    assert sorted(reaped) == list(range(12))
    assert [trial.state for trial in load(store).trials] == [TrialState.FAIL] * 12
    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=12, ended=0, leased=0)


def test_a_large_pool_is_reaped_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "BATCH", 4)
    stored = make_study(store, trials=6)
    expire(store, *(claimed(store, stored) for _ in range(6)))

    assert [reap(store, stored) for _ in range(3)] == [[0, 1, 2, 3], [4, 5], []]


def test_slots_are_locked_before_trials_and_a_trial_told_meanwhile_counts(
    store: Store, database: str, stored: StoredStudy
) -> None:
    """The lock order, and the narrowest race there is: the worker tells its trial while a reaper takes its slot."""
    claim, trial = started(store, stored)
    expire(store, claim)
    reaping_engine = connect(store.url, "reaper")
    waiting = text(WAITING_FOR_A_LOCK)
    with store.engine.connect() as telling, watcher(database) as watch, ThreadPoolExecutor(1) as pool:
        telling.execute(text("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = :id"), {"id": trial._trial_id})
        reaping = pool.submit(reaper.reap, reaping_engine, stored.study_id)
        assert eventually(lambda: watch.execute(waiting).scalar_one() == 1), "the reaper waits for the trial"
        with pytest.raises(OperationalError, match="could not obtain lock"):
            watch.execute(text("SELECT FROM castpool_slots WHERE slot = 0 FOR UPDATE NOWAIT"))
        telling.commit()
        assert reaping.result() == [0]
    reaping_engine.dispose()

    assert slot_row(store, claim).outcome == "complete"
    assert frozen(store, trial).state == TrialState.COMPLETE


def test_the_end_of_a_trial_is_told_in_optunas_own_time(
    store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        claim, trial = started(store, stored)
        expire(store, claim)
        reap(store, stored)
        ended = frozen(store, trial).datetime_complete
        assert ended is not None
        assert abs((datetime.now() - ended).total_seconds()) < 60
    finally:
        monkeypatch.undo()
        time.tzset()


class TestAfterARestartOfTheServer:
    """Nobody could beat while the server was away, so workers get a lease's time to come back."""

    @pytest.fixture
    def claim(self, store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch) -> Claim:
        """An expired lease of a worker that has not been heard since the server started."""
        claim, _ = started(store, stored)
        expire(store, claim)
        execute(store, "UPDATE castpool_workers SET last_beat = pg_postmaster_start_time() - interval '1 minute'")
        monkeypatch.setattr(reaper, "LEASE_SECONDS", 1_000_000.0)  # however long the tests' own server has been up
        return claim

    def test_a_worker_that_was_not_heard_yet_is_waited_for(
        self, store: Store, stored: StoredStudy, claim: Claim
    ) -> None:
        assert reap(store, stored) == []

    def test_but_not_for_longer_than_a_lease(
        self, store: Store, stored: StoredStudy, claim: Claim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reaper, "LEASE_SECONDS", 0.001)
        assert reap(store, stored) == [0]

    def test_nor_once_it_was_heard(self, store: Store, stored: StoredStudy, claim: Claim) -> None:
        roster.beat(store.engine, claim.worker_id)
        assert reap(store, stored) == [0]

    def test_nor_if_it_is_known_to_be_dead(self, store: Store, stored: StoredStudy, claim: Claim) -> None:
        assert reaper.reap_worker(store.engine, stored.study_id, "host", pid=1) == [0]


def test_the_leases_of_a_dead_process_are_ended_at_once_and_no_others(store: Store, stored: StoredStudy) -> None:
    dead, dead_trial = started(store, stored, joined(store, stored, pid=100))
    alive, alive_trial = started(store, stored, joined(store, stored, pid=200))
    elsewhere = roster.join(store.engine, stored.study_id, "another host", 100)
    there, _ = started(store, stored, elsewhere)

    assert reaper.reap_worker(store.engine, stored.study_id, "host", 100) == [dead.slot]

    assert frozen(store, dead_trial).state == TrialState.FAIL
    assert frozen(store, alive_trial).state == TrialState.RUNNING
    slots.beat(store.engine, alive)
    slots.beat(store.engine, there)
    present = [own.worker_id for own in roster.present(store.engine, stored.study_id)]
    assert present == [alive.worker_id, there.worker_id]


def test_a_dead_process_that_had_left_the_roster_is_no_exception(store: Store, stored: StoredStudy) -> None:
    """So does a worker that ends by an error: it leaves the roster, and its slot as it was."""
    claim, _ = started(store, stored, joined(store, stored, pid=100))
    roster.leave(store.engine, claim.worker_id)

    assert reaper.reap_worker(store.engine, stored.study_id, "host", 100) == [claim.slot]


def test_a_new_process_with_the_number_of_a_dead_one_is_another_worker(store: Store, stored: StoredStudy) -> None:
    started(store, stored, joined(store, stored, pid=100))
    reaper.reap_worker(store.engine, stored.study_id, "host", 100)
    claim, _ = started(store, stored, joined(store, stored, pid=100))

    assert reap(store, stored) == []
    slots.beat(store.engine, claim)
