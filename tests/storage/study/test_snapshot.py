"""The snapshot: slots and trials of one moment, whatever their values."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from castpool.storage.attempts.lifecycle import end_trial
from castpool.storage.budget import reaper
from castpool.storage.budget.slots import SlotCounts
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.snapshot import Snapshot
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import (
    breaking_before_statement,
    claimed,
    execute,
    expire,
    load,
    make_study,
    started,
    watcher,
)


@pytest.fixture
def stored(store: Store) -> StoredStudy:
    return make_study(store, trials=6)


def take(store: Store, stored: StoredStudy) -> Snapshot:
    return snapshot.take(store.engine, stored.study_id)


def ended(store: Store, stored: StoredStudy, outcome: str, value: float | None = None) -> None:
    """Fill a slot and end it; a value makes the trial complete."""
    claim, trial = started(store, stored)
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    end_trial(load(store), trial, claim, state, value, outcome=outcome, user_attrs={})


def test_a_new_study_has_slots_and_nothing_else(store: Store, stored: StoredStudy) -> None:
    view = take(store, stored)

    assert view.counts == SlotCounts(slots=6, ended=0, leased=0)
    assert view.trials == ()
    assert view.best is None
    assert view.default is None


def test_it_counts_how_slots_ended(store: Store, stored: StoredStudy) -> None:
    for outcome, value in [("complete", 0.5), ("pruned", None), ("diverged", None), ("complete", 0.25)]:
        ended(store, stored, outcome, value)
    started(store, stored)
    view = take(store, stored)

    assert (view.counts.slots, view.counts.ended, view.counts.leased) == (6, 4, 1)
    counted = {outcome: view.ended_as(outcome) for outcome in ("complete", "pruned", "diverged", "failed")}
    assert counted == {"complete": 2, "pruned": 1, "diverged": 1, "failed": 0}


def test_best_is_the_lowest_and_of_equals_the_earlier(store: Store, stored: StoredStudy) -> None:
    for value in (0.75, 0.25, 0.25, 0.5):
        ended(store, stored, "complete", value)
    ended(store, stored, "pruned")  # its last report, 0.5, is no result
    view = take(store, stored)

    assert view.best is not None and (view.best.number, view.best.value) == (1, 0.25)
    assert view.default is not None and (view.default.number, view.default.value) == (0, 0.75)


def test_a_default_that_did_not_complete_is_none(store: Store, stored: StoredStudy) -> None:
    ended(store, stored, "diverged")
    ended(store, stored, "complete", 0.5)

    assert take(store, stored).default is None


def test_a_running_trial_shows_its_last_report_and_whose_it_is(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    trial.report(0.25, step=30)
    trial.report(0.75, step=20)
    store.trials.flush(trial._trial_id)
    (view,) = take(store, stored).trials

    assert (view.trial_id, view.number, view.state) == (trial._trial_id, 0, "RUNNING")
    assert (view.step, view.last_value) == (30, 0.25)
    assert (view.value, view.ended_at, view.outcome, view.reason) == (None, None, None, None)
    assert view.slot == 0
    assert view.note == {"slot": 0, "attempt": 1, "worker": claim.worker_id}


def test_an_attempt_that_was_lost_is_not_its_slots_current_one(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    expire(store, claim)
    reaper.reap(store.engine, stored.study_id)
    lost_alone = take(store, stored).trials[0]
    started(store, stored)
    lost, again = take(store, stored).trials

    assert lost_alone.slot == 0, "its slot is still open"
    assert lost.state == "FAIL"
    assert (lost.reason or "").startswith(f"lost: worker {claim.worker_id} (host, process 1) is gone")
    assert (lost.slot, lost.outcome) == (None, None)
    assert again.slot == 0
    assert again.note is not None and again.note["retry_of"] == 0


def test_times_are_aware(store: Store, stored: StoredStudy) -> None:
    ended(store, stored, "complete", 0.5)
    (view,) = take(store, stored).trials

    now = datetime.now(timezone.utc)
    assert view.started_at is not None and view.ended_at is not None
    assert now - timedelta(minutes=1) < view.started_at <= view.ended_at <= now + timedelta(seconds=1)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_report_that_is_not_finite_is_none(store: Store, stored: StoredStudy, value: float) -> None:
    _, trial = started(store, stored)
    trial.report(value, step=2)
    store.trials.flush(trial._trial_id)
    (view,) = take(store, stored).trials

    assert (view.step, view.last_value) == (2, None)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_result_is_never_the_best(store: Store, stored: StoredStudy, value: float) -> None:
    ended(store, stored, "complete", value)
    ended(store, stored, "complete", 3e10)
    view = take(store, stored)

    assert [trial.value for trial in view.trials] == [None, 3e10]
    assert view.best is not None and view.best.number == 1


@pytest.mark.parametrize("reason", ["ValueError: got \x00", "got \udcff", 'got "quotes"\nand lines', "größer"])
def test_a_reason_with_any_text_is_read(store: Store, stored: StoredStudy, reason: str) -> None:
    _, trial = started(store, stored)
    trial.set_user_attr("reason", reason)

    assert take(store, stored).trials[0].reason == reason


def test_three_hundred_trials_are_read_in_one_statement(store: Store) -> None:
    stored = make_study(store, trials=300)
    execute(
        store,
        "INSERT INTO trials (study_id, number, state) SELECT :id, generate_series(0, 299), 'COMPLETE'",
        id=stored.study_id,
    )
    statements: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(store.engine, "before_cursor_execute", count)
    view = take(store, stored)
    event.remove(store.engine, "before_cursor_execute", count)

    assert [trial.number for trial in view.trials] == list(range(300))
    assert sum("FROM trials" in statement for statement in statements) == 1
    assert len(statements) == 2


def test_slots_and_trials_are_of_the_same_moment(store: Store, database: str, stored: StoredStudy) -> None:
    """A slot that ends between the two reads is in both or in neither."""
    started(store, stored)
    with watcher(database) as watch:

        def end_it(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if "FROM trials" in statement:
                watch.exec_driver_sql("UPDATE castpool_slots SET ended_at = now(), outcome = 'complete' WHERE slot = 0")

        event.listen(store.engine, "before_cursor_execute", end_it)
        view = take(store, stored)
        event.remove(store.engine, "before_cursor_execute", end_it)

    assert view.counts.ended == view.ended_as("complete") == 0
    after = take(store, stored)
    assert after.counts.ended == after.ended_as("complete") == 1


def test_a_broken_connection_is_waited_out(store: Store, stored: StoredStudy) -> None:
    claimed(store, stored)
    with breaking_before_statement(store.engine) as cut:
        assert take(store, stored).counts.leased == 1
    assert cut
