"""The budget: slots claimed once, held under a lease, ended once, and closed to a worker that lost the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from castpool.storage.attempts.lifecycle import end_trial
from castpool.storage.budget import reaper, slots
from castpool.storage.budget.slots import Claim, SlotCounts
from castpool.storage.connection.engine import connect
from castpool.storage.errors import LeaseLostError
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import (
    claimed,
    execute,
    expire,
    finish,
    frozen,
    joined,
    load,
    losing_answer,
    make_study,
    release_slot,
    slot_row,
    started,
)

LOST = (LeaseLostError, UpdateFinishedTrialError)
WRITES: dict[str, Callable[[Store, Claim, optuna.Trial], object]] = {
    "beat": lambda store, claim, trial: slots.beat(store.engine, claim),
    "keep a checkpoint": lambda store, claim, trial: slots.keep_checkpoint(store.engine, claim, "a checkpoint", 10),
    "finish": lambda store, claim, trial: end_trial(
        load(store), trial, claim, TrialState.COMPLETE, 0.25, outcome="complete", user_attrs={}
    ),
    "hand back": lambda store, claim, trial: end_trial(
        load(store), trial, claim, TrialState.FAIL, None, outcome=None, user_attrs={}
    ),
}


def test_slots_are_claimed_in_ascending_order_until_none_is_left(store: Store, stored: StoredStudy) -> None:
    worker = joined(store, stored)
    claims = [slots.claim(store.engine, stored.study_id, worker) for _ in range(4)]

    assert [claim and (claim.slot, claim.attempt, claim.retry_of) for claim in claims] == [
        (0, 1, None),
        (1, 1, None),
        (2, 1, None),
        None,
    ]


def test_a_claim_is_a_lease_of_a_minute_by_the_servers_clock(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    seconds = "SELECT extract(epoch FROM lease_until - now())::float FROM castpool_slots WHERE slot = 0"
    assert 55 < execute(store, seconds)[0][0] <= slots.LEASE_SECONDS

    expire(store, claim)
    assert execute(store, seconds)[0][0] < 0
    slots.beat(store.engine, claim)
    assert 55 < execute(store, seconds)[0][0] <= slots.LEASE_SECONDS


def test_another_studys_slots_are_not_touched(store: Store, stored: StoredStudy) -> None:
    other = make_study(store, "other", trials=2)
    claimed(store, stored)
    claim = claimed(store, other)
    finish(store, claim, "complete")

    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=3, ended=0, leased=1)
    assert slots.count(store.engine, other.study_id) == SlotCounts(slots=2, ended=1, leased=0)


def test_eight_threads_claim_each_of_fifty_slots_once(store: Store) -> None:
    stored = make_study(store, trials=50)
    workers = [joined(store, stored) for _ in range(8)]
    together = threading.Barrier(8)

    def work(worker: int) -> list[Claim]:
        engine = connect(store.url, "worker")
        together.wait()
        taken = list(iter(lambda: slots.claim(engine, stored.study_id, worker), None))
        engine.dispose()
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [claim for claims in pool.map(work, workers) for claim in claims if claim is not None]

    assert sorted(claim.slot for claim in taken) == list(range(50))
    assert {claim.attempt for claim in taken} == {1}
    assert len({claim.worker_id for claim in taken}) > 1, "one thread alone proves nothing"
    holders = execute(store, "SELECT slot, worker_id FROM castpool_slots ORDER BY slot")
    assert [tuple(row) for row in holders] == sorted((claim.slot, claim.worker_id) for claim in taken)


def reaped(store: Store, claim: Claim) -> None:
    expire(store, claim)
    assert reaper.reap(store.engine, claim.study_id) == [claim.slot]


def reaped_and_claimed_again(store: Store, claim: Claim) -> None:
    reaped(store, claim)
    again = slots.claim(store.engine, claim.study_id, claim.worker_id)  # the worker's number alone is no fence
    assert again is not None and (again.slot, again.attempt) == (claim.slot, claim.attempt + 1)


def ended_otherwise(store: Store, claim: Claim) -> None:
    finish(store, claim, "failed")


@pytest.mark.parametrize("fate", [reaped, reaped_and_claimed_again, ended_otherwise])
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_the_lease_writes_nothing(
    store: Store, stored: StoredStudy, write: str, fate: Callable[[Store, Claim], None]
) -> None:
    claim, trial = started(store, stored)
    with open_store(store.url) as elsewhere:
        fate(elsewhere, claim)
    before, ended = slot_row(store, claim), frozen(store, trial)

    with pytest.raises(LOST, match=r"slot 0, attempt 1: lease lost to another worker|has already finished"):
        WRITES[write](store, claim, trial)

    assert slot_row(store, claim) == before
    assert frozen(store, trial) == ended


@pytest.mark.parametrize("write", WRITES)
def test_a_lease_that_ran_out_is_its_workers_until_a_reaper_takes_it(
    store: Store, stored: StoredStudy, write: str
) -> None:
    claim, trial = started(store, stored)
    expire(store, claim)

    WRITES[write](store, claim, trial)


def test_a_lost_answer_to_finish_is_not_a_lost_lease(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)

    with losing_answer(store.engine) as lost:
        finish(store, claim, "complete")

    assert lost
    assert slot_row(store, claim).outcome == "complete"


def test_a_lost_answer_to_claim_costs_nothing(store: Store, stored: StoredStudy) -> None:
    worker = joined(store, stored)
    held, _ = started(store, stored, worker)
    with losing_answer(store.engine) as lost:
        claim = claimed(store, stored, worker)

    assert lost
    assert (held.slot, claim.slot, claim.attempt) == (0, 1, 1)
    assert slots.count(store.engine, stored.study_id).leased == 2
    assert slot_row(store, claim).worker_id == worker


def test_a_slot_that_was_released_is_the_next_and_a_retry(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    release_slot(store, claim)
    assert slots.count(store.engine, stored.study_id).leased == 0

    again = claimed(store, stored)
    assert (again.slot, again.attempt, again.retry_of) == (0, 2, trial._trial_id)
    assert again.worker_id != claim.worker_id
    assert (again.failures, again.checkpoint, again.checkpoint_step) == ({}, None, 0)


def test_what_failed_is_counted_by_class_for_the_next_attempt(store: Store, stored: StoredStudy) -> None:
    for failure in ("out of memory", "unknown", "out of memory"):
        release_slot(store, claimed(store, stored), failure=failure, reason=f"it was {failure}")

    again = claimed(store, stored)
    assert (again.slot, again.attempt, again.failures) == (0, 4, {"out of memory": 2, "unknown": 1})
    assert slot_row(store, again).reason == "it was out of memory"


def test_the_next_attempt_resumes_from_the_last_checkpoint(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    assert slots.keep_checkpoint(store.engine, claim, "first", 10) is None
    assert slots.keep_checkpoint(store.engine, claim, "second", 20) == "first"
    expire(store, claim)
    reaper.reap(store.engine, stored.study_id)
    again = claimed(store, stored)
    assert (again.checkpoint, again.checkpoint_step) == ("second", 20)

    release_slot(store, again, keeps_checkpoint=True)
    again = claimed(store, stored)
    assert (again.checkpoint, again.checkpoint_step) == ("second", 20)

    release_slot(store, again)
    again = claimed(store, stored)
    assert (again.checkpoint, again.checkpoint_step) == (None, 0)


def test_an_ended_slot_has_no_checkpoint(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    slots.keep_checkpoint(store.engine, claim, "first", 10)
    finish(store, claim)
    assert slot_row(store, claim).checkpoint is None


def test_the_budget_is_raised_and_never_lowered(store: Store, stored: StoredStudy) -> None:
    finish(store, claimed(store, stored), "complete")
    slots.add(store.engine, stored.study_id, 5)
    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=5, ended=1, leased=0)

    slots.add(store.engine, stored.study_id, 2)
    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=5, ended=1, leased=0)


def test_a_study_is_done_when_every_slot_has_ended(store: Store, stored: StoredStudy) -> None:
    claims = [claimed(store, stored) for _ in range(3)]
    for claim, outcome in zip(claims, ("complete", "pruned", "failed"), strict=True):
        assert not slots.count(store.engine, stored.study_id).is_done
        finish(store, claim, outcome)

    counts = slots.count(store.engine, stored.study_id)
    assert (counts.slots, counts.ended, counts.leased, counts.open, counts.is_done) == (3, 3, 0, 0, True)
