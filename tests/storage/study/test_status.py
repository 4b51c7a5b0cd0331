"""What `castpool status` says: workers with their trials, what was tried again and why, what is over."""

from __future__ import annotations

from castpool.storage.budget import slots
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.monitoring.status import format_status, read_status, status_values
from tests.storage.helpers import execute, expire, joined, make_study, reap, release_slot, started


def test_it_shows_who_works_on_what_and_how_far(store: Store, stored: StoredStudy) -> None:
    idle, busy = joined(store, stored, 7), joined(store, stored, 8)
    claim, trial = started(store, stored, busy)
    slots.beat(store.engine, claim, 40)
    execute(store, "UPDATE castpool_workers SET last_beat = now() - interval '5 seconds'")

    status = read_status(store, stored.name)
    shown = status_values(status)
    assert [
        (worker["worker"], worker["pid"], worker["slot"], worker["attempt"], worker["step"])
        for worker in shown["workers"]
    ] == [
        (idle, 7, None, None, None),
        (busy, 8, 0, 1, 40),
    ]
    assert all(5 <= worker["silent_seconds"] < 30 for worker in shown["workers"])
    assert (shown["training_steps"], shown["retries"], shown["over"]) == (40, [], None)
    text = format_status(status)
    assert f"worker {busy} (host, pid 8): trial {trial.number} (attempt 1) at step 40, last heartbeat 5 s ago" in text
    assert f"worker {idle} (host, pid 7): idle, last heartbeat 5 s ago" in text


def test_it_shows_what_was_tried_again_and_why(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    expire(store, claim)
    reap(store, stored)

    status = read_status(store, stored.name)
    (retry,) = status_values(status)["retries"]
    assert (retry["trial"], retry["slot"], retry["attempt"], retry["worker"]) == (trial.number, 0, 1, claim.worker_id)
    assert retry["reason"].startswith(f"lost: worker {claim.worker_id} (host, process 1) is gone, last beat")
    assert f"slot 0, attempt 1, trial {trial.number}: lost: worker {claim.worker_id}" in format_status(status)


def test_it_opens_the_slots_of_the_dead_where_that_is_asked_for(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    expire(store, claim)

    assert status_values(read_status(store, stored.name))["running"] == 1
    assert status_values(read_status(store, stored.name, reaps=True))["running"] == 0
    assert slots.count(store.engine, stored.study_id).leased == 0


def test_it_says_why_a_study_is_over(store: Store) -> None:
    stored = make_study(store, steps=10)
    claim, _ = started(store, stored)
    release_slot(store, claim, step=10)
    assert "over: the budget of 10 training steps is spent" in format_status(read_status(store, stored.name))
