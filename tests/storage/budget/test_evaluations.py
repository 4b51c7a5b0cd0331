"""Evaluations of finalists: phases that are entered once, and slots that are claimed and leased as those of trials."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from castpool.storage.budget import evaluations, reaper, slots
from castpool.storage.budget.kinds import STEPS
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.files.artifacts import PostgresArtifactStore, delete_orphaned_checkpoints
from castpool.storage.store import Store
from castpool.storage.study.statistics import phases
from castpool.storage.study.studies import StoredStudy, find_study, list_studies
from tests.storage.helpers import claimed, execute, expire, finish, joined, make_study, slot_row, started

TASKS = [{"trial": number, "origin": 0} for number in range(3)]
RECORD = {"finalists": [0, 1, 2]}


def searched(store: Store, **study: Any) -> StoredStudy:
    """Return a study that evaluates, of which every trial has ended."""
    stored = make_study(store, trials=2, evaluates=True, **study)
    for _ in range(2):
        finish(store, claimed(store, stored))
    return stored


def verify(store: Store, stored: StoredStudy, tasks: list[dict[str, Any]] = TASKS) -> bool:
    arguments = (store.engine, stored.study_id, Phase.SEARCH, Phase.VERIFICATION)
    return evaluations.enter_phase(*arguments, tasks, RECORD)


def claimed_evaluation(store: Store, stored: StoredStudy, worker: int | None = None) -> Claim:
    claim = slots.claim_evaluation(store.engine, stored.study_id, worker or joined(store, stored))
    assert claim is not None
    return claim


def test_a_phase_is_entered_once_with_its_tasks_in_order(store: Store) -> None:
    stored = searched(store)
    with ThreadPoolExecutor(8) as pool:
        entered = list(pool.map(lambda _: verify(store, stored), range(8)))
    assert sum(entered) == 1
    assert evaluations.read_record(store.engine, stored.study_id) == (Phase.VERIFICATION, RECORD)
    found = evaluations.read_evaluations(store.engine, stored.study_id)
    assert [evaluation.task for evaluation in found] == TASKS
    worker = joined(store, stored)
    assert [claimed_evaluation(store, stored, worker).task for _ in TASKS] == TASKS
    assert slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored)) is None


def test_no_phase_is_entered_while_a_worker_holds_a_slot(store: Store) -> None:
    stored = make_study(store, trials=1, evaluates=True)
    claim, _ = started(store, stored)
    assert not verify(store, stored)
    finish(store, claim)
    assert verify(store, stored)
    held = claimed_evaluation(store, stored)
    arguments = (store.engine, stored.study_id, Phase.VERIFICATION, Phase.HOLDOUT, [], {})
    assert not evaluations.enter_phase(*arguments)
    evaluations.end_evaluation(store.engine, held, Outcome.COMPLETE, result="kept")
    assert evaluations.enter_phase(*arguments)
    left = evaluations.read_evaluations(store.engine, stored.study_id)
    assert [(evaluation.task, evaluation.outcome, evaluation.result) for evaluation in left] == [
        (TASKS[0], Outcome.COMPLETE, "kept")
    ], "what was open is dropped, what has ended is kept"


def test_a_study_is_done_after_its_last_phase(store: Store) -> None:
    plain = make_study(store, "plain", trials=1)
    finish(store, claimed(store, plain))
    assert slots.count(store.engine, plain.study_id).is_done, "nothing is evaluated without a phase"

    stored = searched(store)
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.is_searched, counts.is_done, counts.phase) == (True, False, Phase.SEARCH)
    assert {summary.name: summary.is_done for summary in list_studies(store)} == {"plain": True, "air": False}
    verify(store, stored)
    evaluations.end_evaluation(store.engine, claimed_evaluation(store, stored), Outcome.COMPLETE, result="kept")
    claimed_evaluation(store, stored)
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.slots, counts.ended, counts.leased) == (2, 2, 0), "trials are counted apart"
    assert (counts.evaluations, counts.evaluated, counts.evaluating, counts.open_evaluations) == (3, 1, 1, 1)


def test_a_larger_budget_goes_back_to_the_search_and_judges_nothing_twice(store: Store) -> None:
    stored = searched(store)
    verify(store, stored, TASKS[:1])
    evaluations.end_evaluation(store.engine, claimed_evaluation(store, stored), Outcome.COMPLETE, result="kept")
    evaluations.enter_phase(store.engine, stored.study_id, Phase.VERIFICATION, Phase.DONE, [], RECORD)
    make_study(store, trials=2, evaluates=True)
    assert slots.count(store.engine, stored.study_id).phase == Phase.DONE, "the same command changes nothing"

    make_study(store, trials=3, evaluates=True)
    assert slots.count(store.engine, stored.study_id).phase == Phase.SEARCH
    finish(store, claimed(store, stored))
    assert verify(store, stored, TASKS[:2])
    assert claimed_evaluation(store, stored).task == TASKS[1]
    assert slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored)) is None


def test_trials_leave_what_is_reserved_to_evaluations(store: Store) -> None:
    stored = make_study(store, trials=9, steps=100, reserved_share=0.25, evaluates=True)
    claim, _ = started(store, stored)
    over = slots.beat(store.engine, claim, 75).over
    assert over == "the search has spent its 75 of 100 training steps; the rest is for the evaluation"
    finish(store, claim, step=75)
    assert slots.claim(store.engine, stored.study_id, joined(store, stored)) is None
    assert verify(store, stored)
    held = claimed_evaluation(store, stored)
    assert slots.beat(store.engine, held, 20).over is None
    assert slots.beat(store.engine, held, 25).over == "the budget of 100 training steps is spent"
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.budget(STEPS).spent, counts.open_evaluations) == (100, 0)
    assert slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored)) is None


def test_the_time_that_is_left_differs_for_trials_and_evaluations(store: Store) -> None:
    stored = make_study(store, trials=2, seconds=100.0, reserved_share=0.25, evaluates=True)
    claim, _ = started(store, stored)
    allowed = slots.beat(store.engine, claim).seconds_left
    assert allowed is not None and 70 < allowed <= 75
    finish(store, claim)
    finish(store, claimed(store, stored))
    verify(store, stored)
    allowed = slots.beat(store.engine, claimed_evaluation(store, stored)).seconds_left
    assert allowed is not None and 90 < allowed <= 100


def test_a_lost_lease_writes_nothing_and_its_evaluation_is_claimed_again(store: Store) -> None:
    stored = searched(store)
    verify(store, stored, TASKS[:1])
    first = claimed_evaluation(store, stored)
    expire(store, first)
    assert reaper.reap(store.engine, stored.study_id) == [first.slot]
    second = claimed_evaluation(store, stored)
    assert (second.slot, second.task, second.attempt, second.failures) == (first.slot, TASKS[0], 2, {"lost": 1})
    with pytest.raises(LeaseLostError):
        slots.beat(store.engine, first)
    with pytest.raises(LeaseLostError):
        evaluations.end_evaluation(store.engine, first, Outcome.COMPLETE, result="late")
    assert slot_row(store, second).result is None
    evaluations.end_evaluation(store.engine, second, Outcome.COMPLETE, result="kept")
    (found,) = evaluations.read_evaluations(store.engine, stored.study_id)
    assert (found.outcome, found.result) == (Outcome.COMPLETE, "kept")


def test_an_evaluation_that_is_lost_too_often_fails(store: Store) -> None:
    stored = searched(store, max_retries=1)
    verify(store, stored, TASKS[:1])
    for _ in range(2):
        expire(store, claimed_evaluation(store, stored))
        reaper.reap(store.engine, stored.study_id)
    (found,) = evaluations.read_evaluations(store.engine, stored.study_id)
    assert found.outcome == Outcome.FAILED
    assert "is gone" in (found.reason or "")


def test_an_evaluation_without_an_outcome_is_open_again(store: Store) -> None:
    stored = searched(store)
    verify(store, stored, TASKS[:1])
    held = claimed_evaluation(store, stored)
    evaluations.end_evaluation(store.engine, held, None, failure="out of memory", reason="too large", step=5)
    again = claimed_evaluation(store, stored)
    assert (again.slot, again.attempt, again.failures) == (held.slot, 2, {"out of memory": 1})


def test_its_time_by_phase_is_part_of_the_profile(store: Store) -> None:
    stored = searched(store)
    verify(store, stored, TASKS[:2])
    for seconds in ({"training": 2.0, "evaluation": 0.5}, {"training": 1.0}):
        held = claimed_evaluation(store, stored)
        evaluations.end_evaluation(store.engine, held, Outcome.COMPLETE, result="kept", seconds=seconds)
    assert phases(store.engine, stored.study_id) == {"training": 3.0, "evaluation": 0.5}


def test_results_that_no_evaluation_has_are_swept(store: Store) -> None:
    stored = searched(store)
    verify(store, stored, TASKS[:1])
    artifacts = PostgresArtifactStore(store.engine)
    names = [f"evaluation-{stored.study_id}-{number}-1" for number in range(2)]
    for name in names:
        artifacts.write(name, io.BytesIO(b"forecasts"))
    evaluations.end_evaluation(store.engine, claimed_evaluation(store, stored), Outcome.COMPLETE, result=names[0])
    execute(store, "UPDATE castpool_artifacts SET created_at = now() - interval '1 hour'")
    delete_orphaned_checkpoints(store.engine, stored.study_id, 60.0)
    left = execute(store, "SELECT artifact_id FROM castpool_artifacts ORDER BY 1")
    assert [row.artifact_id for row in left] == names[:1]


def test_a_deleted_study_leaves_none(store: Store) -> None:
    stored = searched(store)
    verify(store, stored)
    store.trials.delete_study(stored.study_id)
    assert find_study(store, stored.name) is None
    assert execute(store, "SELECT count(*) FROM castpool_slots") == [(0,)]
