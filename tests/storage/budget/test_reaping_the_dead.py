"""Dead workers: a process that is known to be dead, and after a restart of the server none too early."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.budget.slots import Claim
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import (
    execute,
    expire,
    frozen,
    joined,
    reap,
    started,
)


class TestAfterARestartOfTheServer:
    """No worker could send a heartbeat while the server was away, so workers get a lease's time to return."""

    @pytest.fixture
    def claim(self, store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch) -> Claim:
        """An expired lease of a worker that has not been heard since the server started."""
        claim, _ = started(store, stored)
        expire(store, claim)
        execute(store, "UPDATE castpool_workers SET last_beat = pg_postmaster_start_time() - interval '1 minute'")
        monkeypatch.setattr(slots, "LEASE_SECONDS", 1_000_000.0)  # however long the tests' server has been up
        return claim

    def test_a_worker_that_was_not_heard_yet_is_waited_for(
        self, store: Store, stored: StoredStudy, claim: Claim
    ) -> None:
        assert reap(store, stored) == []

    def test_but_not_for_longer_than_a_lease(
        self, store: Store, stored: StoredStudy, claim: Claim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(slots, "LEASE_SECONDS", 0.001)
        assert reap(store, stored) == [0]

    def test_nor_once_it_was_heard(self, store: Store, stored: StoredStudy, claim: Claim) -> None:
        worker_registry.beat(store.engine, claim.worker_id)
        assert reap(store, stored) == [0]

    def test_nor_if_it_is_known_to_be_dead(self, store: Store, stored: StoredStudy, claim: Claim) -> None:
        assert reaper.reap_worker(store.engine, stored.study_id, "host", pid=1) == [0]


def test_the_leases_of_a_dead_process_are_ended_at_once_and_no_others(store: Store, stored: StoredStudy) -> None:
    dead, dead_trial = started(store, stored, joined(store, stored, pid=100))
    alive, alive_trial = started(store, stored, joined(store, stored, pid=200))
    elsewhere = worker_registry.join(store.engine, stored.study_id, "another host", 100)
    there, _ = started(store, stored, elsewhere)

    assert reaper.reap_worker(store.engine, stored.study_id, "host", 100) == [dead.slot]

    assert frozen(store, dead_trial).state == TrialState.FAIL
    assert frozen(store, alive_trial).state == TrialState.RUNNING
    slots.beat(store.engine, alive)
    slots.beat(store.engine, there)
    present = [worker.worker_id for worker in worker_registry.present(store.engine, stored.study_id)]
    assert present == [alive.worker_id, there.worker_id]


def test_a_dead_process_that_had_left_the_roster_is_no_exception(store: Store, stored: StoredStudy) -> None:
    """So does a worker that ends by an error: it leaves the roster, and its slot as it was."""
    claim, _ = started(store, stored, joined(store, stored, pid=100))
    worker_registry.leave(store.engine, claim.worker_id)

    assert reaper.reap_worker(store.engine, stored.study_id, "host", 100) == [claim.slot]


def test_a_new_process_with_the_number_of_a_dead_one_is_another_worker(store: Store, stored: StoredStudy) -> None:
    started(store, stored, joined(store, stored, pid=100))
    reaper.reap_worker(store.engine, stored.study_id, "host", 100)
    claim, _ = started(store, stored, joined(store, stored, pid=100))

    assert reap(store, stored) == []
    slots.beat(store.engine, claim)
