"""Budgets beside the number of trials: working time and training steps, counted in the database."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from castpool.storage.budget import slots
from castpool.storage.budget.kinds import STEPS, TIME
from castpool.storage.budget.slots import Claim
from castpool.storage.connection.engine import connect, transaction
from castpool.storage.store import Store
from tests.storage.helpers import (
    claimed,
    eventually,
    execute,
    finish,
    joined,
    make_study,
    release_slot,
    started,
    watcher,
)


def pass_time(store: Store, seconds: float) -> None:
    """Let the last sign of work be so long ago."""
    execute(store, "UPDATE castpool_studies SET active_at = active_at - make_interval(secs => :s)", s=seconds)


def test_steps_count_once_whichever_write_reports_them(store: Store) -> None:
    stored = make_study(store, steps=1000)
    claim, _ = started(store, stored)
    for step in (10, 30, 30, 20):
        assert slots.beat(store.engine, claim, step).over is None
    assert slots.count(store.engine, stored.study_id).budget(STEPS).spent == 30
    finish(store, claim, step=50)
    assert slots.count(store.engine, stored.study_id).budget(STEPS).spent == 50


def test_steps_trained_again_count_again_and_those_of_a_checkpoint_do_not(store: Store) -> None:
    stored = make_study(store, steps=1000)
    claim, _ = started(store, stored)
    slots.keep_checkpoint(store.engine, claim, "kept", 20)
    release_slot(store, claim, step=30, keeps_checkpoint=True)
    again = claimed(store, stored)
    finish(store, again, step=50)
    assert slots.count(store.engine, stored.study_id).budget(STEPS).spent == 30 + (50 - 20)


def test_steps_and_seconds_of_workers_at_once_add_up(store: Store) -> None:
    """Writes on several slots charge the same rows, one transaction after the other, and none is lost."""
    stored = make_study(store, trials=8, steps=1_000_000, seconds=1000)
    claims = [started(store, stored)[0] for _ in range(8)]
    began = time.monotonic()

    def beat_often(claim: Claim) -> None:
        engine = connect(store.url, "beating")
        for step in range(1, 26):
            slots.beat(engine, claim, step)
        engine.dispose()

    with ThreadPoolExecutor(len(claims)) as pool:
        list(pool.map(beat_often, claims))
    counts = slots.count(store.engine, stored.study_id)
    assert counts.budget(STEPS).spent == 8 * 25
    assert 0 < counts.budget(TIME).spent <= time.monotonic() - began


def test_a_beat_that_waits_for_another_charges_what_that_one_left(store: Store, database: str) -> None:
    stored = make_study(store, steps=100, seconds=1000)
    claim, _ = started(store, stored)
    waiting_engine = connect(store.url, "waiting")
    with transaction(store.engine) as first, ThreadPoolExecutor(1) as pool, watcher(database) as watch:
        first.execute(text("UPDATE castpool_studies SET active_at = now()"))
        first.execute(text("UPDATE castpool_budgets SET spent = spent + 70 WHERE kind = 'steps'"))
        beat = pool.submit(slots.beat, waiting_engine, claim, 30)
        locks = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = :name"
        )
        assert eventually(lambda: watch.execute(locks, {"name": "waiting"}).scalar_one() == 1)
        first.commit()
        assert beat.result().over == "the budget of 100 training steps is spent"
    waiting_engine.dispose()
    assert slots.count(store.engine, stored.study_id).budget(STEPS).spent == 100


def test_a_spent_budget_of_steps_ends_the_study(store: Store) -> None:
    stored = make_study(store, steps=100)
    first, _ = started(store, stored)
    second, _ = started(store, stored)
    assert slots.beat(store.engine, first, 60).over is None
    assert slots.beat(store.engine, second, 40).over == "the budget of 100 training steps is spent"
    assert slots.beat(store.engine, first, 60).over == "the budget of 100 training steps is spent"

    counts = slots.count(store.engine, stored.study_id)
    assert (counts.open, counts.is_done, counts.ended, counts.spent) == (0, True, 0, 1.0)
    assert slots.claim(store.engine, stored.study_id, joined(store, stored)) is None


@pytest.mark.parametrize(("steps", "seconds"), [(200, None), (None, None)])
def test_a_raised_budget_resumes_a_study(store: Store, steps: int | None, seconds: float | None) -> None:
    stored = make_study(store, steps=100)
    claim, _ = started(store, stored)
    release_slot(store, claim, step=100)
    assert slots.claim(store.engine, stored.study_id, claim.worker_id) is None

    make_study(store, steps=steps, seconds=seconds)
    again = claimed(store, stored)
    assert (again.slot, again.attempt) == (0, 2)


def test_time_is_that_in_which_any_worker_trains(store: Store) -> None:
    stored = make_study(store, seconds=100)
    first, _ = started(store, stored)
    second, _ = started(store, stored)
    for claim in (first, second):
        slots.beat(store.engine, claim)
    pass_time(store, 30)
    assert slots.beat(store.engine, first).over is None
    assert slots.beat(store.engine, second).over is None
    assert 30 <= slots.count(store.engine, stored.study_id).budget(TIME).spent < 40, "two at once count once"

    pass_time(store, 3600)
    slots.beat(store.engine, first)
    assert slots.count(store.engine, stored.study_id).budget(TIME).spent < 40, "a pause of all is no work"

    for _ in range(2):
        pass_time(store, 50)
        slots.beat(store.engine, first)
    assert slots.beat(store.engine, second).over == "the budget of 100 seconds is spent"
    assert slots.count(store.engine, stored.study_id).is_done


def test_the_first_budget_that_is_reached_ends_the_study(store: Store) -> None:
    stored = make_study(store, trials=1, seconds=100, steps=100)
    claim, _ = started(store, stored)
    finish(store, claim, step=10)
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.is_done, counts.over) == (True, None)


class TestFirstTrialsThatFailForOneReason:
    def fail(self, store: Store, reason: str) -> bool:
        stored = make_study(store, trials=10)
        claim, _ = started(store, stored)
        finish(store, claim, "failed", failure="bad configuration", reason=reason)
        return slots.stop_study(store.engine, stored.study_id, reason, 3)

    def test_end_the_study_whatever_sizes_they_name(self, store: Store) -> None:
        reasons = [f"ValueError: got {size}, more than {size // 2}" for size in (10, 20, 40)]
        assert [self.fail(store, reason) for reason in reasons] == [False, False, True]

        stored = make_study(store, "air", trials=10)
        execute(store, "UPDATE castpool_studies SET stopped = 'as above' WHERE study_id = :id", id=stored.study_id)
        counts = slots.count(store.engine, stored.study_id)
        assert (counts.ended, counts.is_done, counts.over) == (3, True, "as above")

    def test_asked_for_again_it_is_tried_again(self, store: Store) -> None:
        for _ in range(3):
            stopped = self.fail(store, "ValueError: no")
        assert stopped
        stored = make_study(store, trials=10)
        assert claimed(store, stored).slot == 3

    def test_for_several_reasons_do_not(self, store: Store) -> None:
        assert [self.fail(store, f"ValueError: {reason}") for reason in "aab"] == [False, False, False]

    def test_nor_after_one_that_ended_otherwise(self, store: Store) -> None:
        stored = make_study(store, trials=10)
        finish(store, claimed(store, stored))
        assert [self.fail(store, "ValueError: no") for _ in range(4)] == [False] * 4
