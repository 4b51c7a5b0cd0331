"""A backtest in the storage: asked for after the end, no part of any budget, resumed, and nothing is done twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from castpool.storage.budget import evaluations, reaper, slots
from castpool.storage.budget.kinds import STEPS, TIME
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy, list_studies
from tests.storage.helpers import claimed, execute, expire, finish, joined, make_study, slot_row, started

TASKS = [{"phase": "backtest", "behind": behind} for behind in (12, 24, 36)]
RECORD = {"selection": "what was selected"}


def ended(store: Store, **study: Any) -> StoredStudy:
    """Return a study whose search and evaluation have ended."""
    stored = make_study(store, trials=2, evaluates=True, **study)
    for _ in range(2):
        finish(store, claimed(store, stored), step=10)
    for before, phase in ((Phase.SEARCH, Phase.HOLDOUT), (Phase.HOLDOUT, Phase.DONE)):
        assert evaluations.enter_phase(store.engine, stored.study_id, before, phase, [], RECORD)
    return stored


def ask(store: Store, stored: StoredStudy, tasks: list[dict[str, Any]] = TASKS, before: Phase = Phase.DONE) -> bool:
    return evaluations.enter_phase(store.engine, stored.study_id, before, Phase.BACKTEST, tasks, None)


def take(store: Store, stored: StoredStudy) -> Claim:
    claim = slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored))
    assert claim is not None
    return claim


def complete(store: Store, stored: StoredStudy, **end: Any) -> Claim:
    claim = take(store, stored)
    evaluations.end_evaluation(store.engine, claim, Outcome.COMPLETE, result=f"of slot {claim.slot}", **end)
    return claim


def open_tasks(store: Store, stored: StoredStudy) -> list[Any]:
    found = evaluations.read_evaluations(store.engine, stored.study_id)
    return [evaluation.task for evaluation in found if evaluation.outcome is None]


def test_a_study_is_not_done_while_a_backtest_runs_and_is_again_after_it(store: Store) -> None:
    stored = ended(store)
    assert slots.count(store.engine, stored.study_id).is_done
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: ask(store, stored), range(4)))
    assert sum(asked) == 1
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.phase, counts.is_done, counts.is_judged, counts.open_evaluations) == (Phase.BACKTEST, False, True, 3)
    assert [summary.is_done for summary in list_studies(store)] == [False], "workers that join take part"
    assert [complete(store, stored).task for _ in TASKS] == TASKS
    assert evaluations.enter_phase(store.engine, stored.study_id, Phase.BACKTEST, Phase.DONE, [], None)
    assert slots.count(store.engine, stored.study_id).is_done
    assert evaluations.read_record(store.engine, stored.study_id) == (Phase.DONE, RECORD), "the selection is kept"


def test_a_spent_budget_does_not_stop_it_and_it_spends_nothing(store: Store) -> None:
    stored = ended(store, steps=20, seconds=50.0)
    execute(store, "UPDATE castpool_budgets SET spent = 51 WHERE kind = 'time'")
    execute(store, "UPDATE castpool_studies SET active_at = now()")

    def spent() -> tuple[float, float]:
        counts = slots.count(store.engine, stored.study_id)
        return counts.budget(STEPS).spent, counts.budget(TIME).spent

    assert ask(store, stored)
    before = spent()
    assert before == (20, 51)
    assert slots.count(store.engine, stored.study_id).open_evaluations == 3
    held = take(store, stored)
    assert slots.beat(store.engine, held, 500) == (None, None), "neither steps nor time end it"
    evaluations.end_evaluation(store.engine, held, Outcome.COMPLETE, result="kept", step=900)
    assert complete(store, stored, step=900).task == TASKS[1]
    assert spent() == before
    assert slot_row(store, held).steps == 900, "its own steps are counted"


def test_an_evaluation_of_the_result_is_still_stopped_by_a_spent_budget(store: Store) -> None:
    stored = make_study(store, trials=1, steps=5, evaluates=True)
    finish(store, claimed(store, stored), step=5)
    evaluations.enter_phase(store.engine, stored.study_id, Phase.SEARCH, Phase.VERIFICATION, TASKS[:1], {})
    assert slots.count(store.engine, stored.study_id).open_evaluations == 0
    assert slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored)) is None


def test_what_was_forecast_is_not_forecast_again_but_what_failed_is(store: Store) -> None:
    stored = ended(store)
    ask(store, stored)
    complete(store, stored)
    failed = take(store, stored)
    evaluations.end_evaluation(store.engine, failed, Outcome.FAILED, reason="too large")
    complete(store, stored)
    evaluations.enter_phase(store.engine, stored.study_id, Phase.BACKTEST, Phase.DONE, [], None)
    assert ask(store, stored)
    assert open_tasks(store, stored) == [TASKS[1]]
    assert complete(store, stored).task == TASKS[1]
    evaluations.enter_phase(store.engine, stored.study_id, Phase.BACKTEST, Phase.DONE, [], None)
    assert ask(store, stored)
    assert slots.claim_evaluation(store.engine, stored.study_id, joined(store, stored)) is None


def test_it_is_resumed_after_a_kill(store: Store) -> None:
    stored = ended(store)
    ask(store, stored)
    complete(store, stored)
    lost = take(store, stored)
    expire(store, lost)
    assert reaper.reap(store.engine, stored.study_id) == [lost.slot]
    assert not ask(store, stored), "it has begun"
    assert ask(store, stored, before=Phase.BACKTEST), "the same command again"
    assert sorted(task["behind"] for task in open_tasks(store, stored)) == [24, 36]
    with pytest.raises(LeaseLostError):
        evaluations.end_evaluation(store.engine, lost, Outcome.COMPLETE, result="late")


def test_other_windows_take_the_place_of_those_that_no_worker_holds(store: Store) -> None:
    stored = ended(store)
    ask(store, stored)
    held = take(store, stored)
    assert ask(store, stored, [{"phase": "backtest", "behind": 60}], before=Phase.BACKTEST)
    assert open_tasks(store, stored) == [TASKS[0], {"phase": "backtest", "behind": 60}]
    evaluations.end_evaluation(store.engine, held, Outcome.COMPLETE, result="kept")
    assert complete(store, stored).task == {"phase": "backtest", "behind": 60}


def test_none_begins_before_the_search_and_the_evaluation_have_ended(store: Store) -> None:
    plain = make_study(store, "plain", trials=1)
    assert not ask(store, plain), "its search is under way"
    searched = make_study(store, "searched", trials=1, evaluates=True)
    finish(store, claimed(store, searched))
    assert not ask(store, searched), "its finalists are not judged"
    busy = make_study(store, "busy", trials=2, steps=5)
    started(store, busy)
    execute(store, "UPDATE castpool_budgets SET spent = 5 WHERE kind = 'steps'")
    assert not ask(store, busy), "a worker holds a slot"


@pytest.mark.parametrize("budget", [{}, {"steps": 5}])
def test_a_study_without_phases_has_one_too(store: Store, budget: dict[str, Any]) -> None:
    stored = make_study(store, trials=2, **budget)
    finish(store, claimed(store, stored), step=5)
    if not budget:
        finish(store, claimed(store, stored))
    assert slots.count(store.engine, stored.study_id).phase is None
    assert ask(store, stored)
    assert slots.count(store.engine, stored.study_id).open_evaluations == 3
    for _ in TASKS:
        complete(store, stored)
    assert evaluations.enter_phase(store.engine, stored.study_id, Phase.BACKTEST, Phase.DONE, [], None)
    assert slots.count(store.engine, stored.study_id).is_done


def test_a_larger_budget_goes_back_to_the_search(store: Store) -> None:
    stored = ended(store)
    ask(store, stored)
    complete(store, stored)
    make_study(store, trials=3, evaluates=True)
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.phase, counts.is_judged) == (Phase.SEARCH, False)
    finish(store, claimed(store, stored))
    assert evaluations.enter_phase(store.engine, stored.study_id, Phase.SEARCH, Phase.DONE, [], RECORD)
    assert open_tasks(store, stored) == [], "what was open of the backtest is dropped"
