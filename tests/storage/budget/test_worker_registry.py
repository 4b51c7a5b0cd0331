"""Who works on a study: a number for life, a beat, and a slot beside it."""

from __future__ import annotations

from castpool.storage.budget import worker_registry
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import breaking_before_statement, claimed, execute, finish, losing_answer, make_study


def test_every_worker_that_ever_joins_gets_a_number_of_its_own(store: Store, stored: StoredStudy) -> None:
    other = make_study(store, "other")
    first = worker_registry.join(store.engine, stored.study_id, "host", 100)
    worker_registry.leave(store.engine, first)
    numbers = [
        first,
        *(worker_registry.join(store.engine, study.study_id, "host", 100) for study in (stored, other, stored)),
    ]

    assert numbers == sorted(set(numbers))


def test_those_that_have_not_left_are_present_with_their_slot(store: Store, stored: StoredStudy) -> None:
    idle, busy, left = (worker_registry.join(store.engine, stored.study_id, f"host {pid}", pid) for pid in (1, 2, 3))
    other = make_study(store, "other")
    worker_registry.join(store.engine, other.study_id, "host", 4)
    claim = claimed(store, stored, busy)
    worker_registry.leave(store.engine, left)

    present = worker_registry.present(store.engine, stored.study_id)
    assert [(worker.worker_id, worker.host, worker.pid, worker.slot) for worker in present] == [
        (idle, "host 1", 1, None),
        (busy, "host 2", 2, claim.slot),
    ]
    finish(store, claim, "complete")
    assert [worker.slot for worker in worker_registry.present(store.engine, stored.study_id)] == [None, None]


def test_a_beat_ends_the_silence(store: Store, stored: StoredStudy) -> None:
    worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
    execute(store, "UPDATE castpool_workers SET last_beat = now() - interval '40 seconds'")
    (silent,) = worker_registry.present(store.engine, stored.study_id)
    worker_registry.beat(store.engine, worker)
    (heard,) = worker_registry.present(store.engine, stored.study_id)

    assert 40 <= silent.silent_seconds < 50
    assert 0 <= heard.silent_seconds < 10
    assert heard.joined_at == silent.joined_at


def test_a_worker_that_died_without_a_slot_is_not_listed_for_ever(store: Store, stored: StoredStudy) -> None:
    idle, busy = (worker_registry.join(store.engine, stored.study_id, "host", pid) for pid in (1, 2))
    claimed(store, stored, busy)
    execute(store, "UPDATE castpool_workers SET last_beat = now() - interval '61 seconds'")
    assert [worker.worker_id for worker in worker_registry.present(store.engine, stored.study_id)] == [busy]

    worker_registry.beat(store.engine, idle)
    assert [worker.worker_id for worker in worker_registry.present(store.engine, stored.study_id)] == [idle, busy]


def test_a_worker_leaves_once(store: Store, stored: StoredStudy) -> None:
    worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
    worker_registry.leave(store.engine, worker)
    before = execute(store, "SELECT left_at FROM castpool_workers")
    worker_registry.leave(store.engine, worker)

    assert before[0].left_at is not None
    assert execute(store, "SELECT left_at FROM castpool_workers") == before


def test_a_lost_answer_to_a_claim_leaves_its_worker_with_one_slot(store: Store, stored: StoredStudy) -> None:
    worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
    with losing_answer(store.engine):
        claim = claimed(store, stored, worker)

    assert [worker.slot for worker in worker_registry.present(store.engine, stored.study_id)] == [claim.slot] == [0]


def test_a_broken_connection_is_waited_out(store: Store, stored: StoredStudy) -> None:
    with breaking_before_statement(store.engine) as cut:
        worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
    assert cut
    with breaking_before_statement(store.engine):
        worker_registry.beat(store.engine, worker)
    with breaking_before_statement(store.engine):
        assert len(worker_registry.present(store.engine, stored.study_id)) == 1
    with breaking_before_statement(store.engine):
        worker_registry.leave(store.engine, worker)

    assert worker_registry.present(store.engine, stored.study_id) == []
