"""The length of a lease is one constant: every statement gets it as a parameter."""

from __future__ import annotations

from pathlib import Path

import pytest

import castpool.storage.sql
from castpool.storage.budget import slots, worker_registry
from castpool.storage.budget.kinds import TIME
from castpool.storage.store import Store
from castpool.storage.study.statistics import tally
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import claimed, execute, joined, make_study, reap, slot_row, started

LEASE = 1000.0


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LEASE_SECONDS", LEASE)


def seconds_left(store: Store) -> float:
    (row,) = execute(store, "SELECT extract(epoch FROM lease_until - now())::float FROM castpool_slots WHERE slot = 0")
    return float(row[0])


def test_claims_and_beats_last_so_long(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    assert LEASE - 10 < seconds_left(store) <= LEASE
    execute(store, "UPDATE castpool_slots SET lease_until = now() WHERE slot = 0")
    slots.beat(store.engine, claim)
    assert LEASE - 10 < seconds_left(store) <= LEASE


def test_time_passes_for_a_study_during_a_pause_of_less_than_a_lease(store: Store) -> None:
    stored = make_study(store, seconds=10 * LEASE)
    claim, _ = started(store, stored)
    slots.beat(store.engine, claim)
    execute(store, "UPDATE castpool_studies SET active_at = active_at - interval '900 seconds'")
    slots.keep_checkpoint(store.engine, claim, "kept", 1)
    assert 900 <= slots.count(store.engine, stored.study_id).budget(TIME).spent < 950


def test_a_worker_without_a_slot_is_present_for_a_lease(store: Store, stored: StoredStudy) -> None:
    worker = joined(store, stored)
    execute(store, "UPDATE castpool_workers SET last_beat = now() - interval '900 seconds'")
    assert [found.worker_id for found in worker_registry.present(store.engine, stored.study_id)] == [worker]
    execute(store, "UPDATE castpool_workers SET last_beat = now() - interval '1100 seconds'")
    assert worker_registry.present(store.engine, stored.study_id) == []


def test_a_worker_that_leaves_late_has_worked_for_a_lease_after_its_last_beat(
    store: Store, stored: StoredStudy
) -> None:
    joined(store, stored)
    times = "joined_at = now() - interval '2000 seconds', last_beat = now() - interval '2000 seconds', left_at = now()"
    execute(store, f"UPDATE castpool_workers SET {times}")
    assert tally(store.engine, stored.study_id).working_seconds == pytest.approx(LEASE, abs=1)


def test_the_reaper_waits_a_lease_after_a_restart_of_the_server(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    execute(store, "UPDATE castpool_slots SET lease_until = now() - interval '1 second' WHERE slot = 0")
    execute(store, "UPDATE castpool_workers SET last_beat = pg_postmaster_start_time() - interval '1 minute'")
    slots.LEASE_SECONDS = 1_000_000.0  # longer than the tests' server has been up
    assert reap(store, stored) == []
    slots.LEASE_SECONDS = 0.001
    assert reap(store, stored) == [claim.slot]
    assert slot_row(store, claim).lease_until is None


def test_no_statement_holds_the_length_itself() -> None:
    folder = Path(castpool.storage.sql.__file__).parent
    found = {path.name for path in folder.glob("*.py") if "60" in path.read_text() or "1 minute" in path.read_text()}
    assert found == set()
