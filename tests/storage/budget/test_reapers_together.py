"""Reapers beside each other, beside the worker and under failure: both trial and slot, once, or neither."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from optuna.trial import TrialState
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from castpool.storage.budget import reaper, slots
from castpool.storage.budget.slots import SlotCounts
from castpool.storage.connection.engine import connect, transaction
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import (
    breaking_before_statement,
    eventually,
    execute,
    expire,
    frozen,
    joined,
    load,
    make_study,
    reap,
    slot_row,
    started,
    watcher,
)

WAITING_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


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


def test_slots_are_locked_before_trials_and_a_trial_ended_meanwhile_counts(
    store: Store, database: str, stored: StoredStudy
) -> None:
    """The lock order, and the narrowest race there is: the worker tells its trial while a reaper takes its slot."""
    claim, trial = started(store, stored)
    expire(store, claim)
    reaping_engine = connect(store.url, "reaper")
    waiting = text(WAITING_FOR_A_LOCK)
    with transaction(store.engine) as telling, watcher(database) as watch, ThreadPoolExecutor(1) as pool:
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
