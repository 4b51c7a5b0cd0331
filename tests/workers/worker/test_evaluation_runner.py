"""From the search to the verdict in this process: phases follow each other, and nothing is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import optuna
import pandas as pd
import pytest

from castpool.storage.budget import evaluations, reaper, slots
from castpool.storage.budget.evaluations import Evaluation
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.evaluation import phases
from castpool.workers.evaluation.forecasts import forecast_windows, from_parquet
from castpool.workers.evaluation.selection import Selection
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker import evaluation_runner
from castpool.workers.worker.evaluation_runner import EvaluationRunner
from castpool.workers.worker.loop import Worker
from tests.storage.helpers import execute, expire

Make = Callable[..., Draft]
# A budget of time of which hardly anything is spent is capacity for every evaluation.
SPEC = {"holdout": 4, "val_size": 4, "finalists": 2, "time_budget": 3600.0}
EXPIRE_ALL = "UPDATE castpool_slots SET lease_until = now() - interval '1 hour' WHERE lease_until IS NOT NULL"


@pytest.fixture
def small(draft: Make) -> Callable[..., Draft]:
    """Return a function that drafts a study whose finalists are judged again."""
    return lambda **changes: draft(**{**SPEC, **changes})


def tasks_of(store: Store, stored: StoredStudy) -> list[tuple[EvaluationTask, Evaluation]]:
    found = evaluations.read_evaluations(store.engine, stored.study_id)
    return [(EvaluationTask.from_json(evaluation.task), evaluation) for evaluation in found]


def attempts(store: Store, stored: StoredStudy) -> list[tuple[int, int]]:
    """Return the number of each evaluation, and its attempts."""
    query = "SELECT slot, attempt FROM castpool_slots WHERE study_id = :id AND kind <> 'trial' ORDER BY slot"
    return [(row.slot, row.attempt) for row in execute(store, query, id=stored.study_id)]


def phase_of(store: Store, stored: StoredStudy) -> Phase | None:
    return slots.count(store.engine, stored.study_id).phase


def run(store: Store, stored: StoredStudy, stop: StopRequest | None = None) -> None:
    Worker(store, [stored], stop or StopRequest()).run()


def test_a_study_goes_through_its_phases_once(
    store: Store, small: Make, panel: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[tuple[Phase, Phase]] = []
    enter = evaluations.enter_phase

    def record_entry(engine: Any, study_id: int, before: Phase, phase: Phase, *rest: Any) -> bool:
        is_first = enter(engine, study_id, before, phase, *rest)
        entered.extend([(before, phase)] if is_first else [])
        return is_first

    monkeypatch.setattr(evaluations, "enter_phase", record_entry)
    drafted = small()
    stored = save_study(store, drafted)
    run(store, stored)
    order = [Phase.SEARCH, Phase.VERIFICATION, Phase.HOLDOUT, Phase.DONE]
    assert entered == list(pairwise(order))
    assert slots.count(store.engine, stored.study_id).is_done

    done = tasks_of(store, stored)
    assert all(evaluation.outcome == Outcome.COMPLETE for _, evaluation in done)
    assert all(count == 1 for _, count in attempts(store, stored))
    assert len({repr(task) for task, _ in done}) == len(done)
    record = evaluations.read_record(store.engine, stored.study_id)[1]
    selection = Selection.from_json(record["selection"])
    judged = {task.candidate for task, _ in done if task.phase == Phase.HOLDOUT}
    assert judged >= {str(selection.winner), *selection.weights, *phases.baselines(drafted.job)}
    assert {task.origin for task, _ in done if task.phase == Phase.VERIFICATION} == {0, 1}

    runner = Worker(store, [stored], StopRequest()).runners[0]
    last = panel.groupby("unique_id")["ds"].max().max()
    for task, evaluation in done:
        assert evaluation.result is not None
        with runner.artifacts.open_reader(evaluation.result) as reader:
            frame = from_parquet(reader.read())
        assert set(frame["unique_id"]) == set(panel["unique_id"])
        assert frame["cutoff"].min() == last - pd.DateOffset(months=task.behind)

    run(store, stored)  # a study that is done is left alone
    assert len(entered) == 3
    assert tasks_of(store, stored) == done


def test_the_search_never_sees_the_holdout(store: Store, small: Make, panel: pd.DataFrame) -> None:
    def value_of_trials(table: pd.DataFrame, name: str) -> list[float | None]:
        stored = save_study(store, small(name=name, table=table, finalists=0, time_budget=None, trials=2))
        run(store, stored)
        worker = Worker(store, [stored], StopRequest())
        held = worker.runners[0].job.series.frame
        assert len(held) == len(panel)
        assert worker.runners[0].job.dataset.temporal.shape[0] == len(panel) - 3 * 4
        return [trial.value for trial in optuna.load_study(study_name=stored.name, storage=store.trials).trials]

    is_held_out = panel.groupby("unique_id").cumcount(ascending=False) < 4
    other = panel.assign(y=panel["y"].where(~is_held_out, panel["y"] * 2))
    assert value_of_trials(panel, "first") == value_of_trials(other, "second")


def test_without_a_holdout_and_finalists_the_search_is_all(store: Store, small: Make) -> None:
    stored = save_study(store, small(holdout=0, finalists=0, ensemble="none"))
    run(store, stored)
    assert tasks_of(store, stored) == []
    assert slots.count(store.engine, stored.study_id).is_done


def test_what_a_dead_worker_held_is_done_by_another_and_nothing_else_again(
    store: Store, small: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = save_study(store, small())
    begun: list[Any] = []

    def die_in_the_third(*arguments: Any, **named: Any) -> pd.DataFrame:
        begun.append(arguments)
        if len(begun) == 3:
            raise KeyboardInterrupt  # no ending is written, as at SIGKILL
        return forecast_windows(*arguments, **named)

    monkeypatch.setattr(evaluation_runner, "forecast_windows", die_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(store, stored)
    before = dict(tasks_of(store, stored))
    ended = {task: evaluation for task, evaluation in before.items() if evaluation.outcome is not None}
    assert len(ended) == 2
    assert slots.count(store.engine, stored.study_id).evaluating == 1

    execute(store, EXPIRE_ALL)
    (lost,) = reaper.reap(store.engine, stored.study_id)
    run(store, stored)
    after = dict(tasks_of(store, stored))
    assert slots.count(store.engine, stored.study_id).is_done
    assert {task: after[task] for task in ended} == ended
    assert all(evaluation.outcome == Outcome.COMPLETE for evaluation in after.values())
    assert {slot: count for slot, count in attempts(store, stored) if count > 1} == {lost: 2}


def test_a_worker_whose_evaluation_was_taken_writes_no_result(
    store: Store, small: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = save_study(store, small())
    taken: list[int] = []

    def take(*arguments: Any, **named: Any) -> pd.DataFrame:
        frame = forecast_windows(*arguments, **named)
        if not taken:
            execute(
                store, "UPDATE castpool_slots SET lease_until = now() - interval '1 hour' WHERE lease_until > now()"
            )
            taken.extend(reaper.reap(store.engine, stored.study_id))
        return frame

    monkeypatch.setattr(evaluation_runner, "forecast_windows", take)
    run(store, stored)
    assert len(taken) == 1
    again = dict(attempts(store, stored))
    assert (again.pop(taken[0]), set(again.values())) == (2, {1})
    assert all(evaluation.outcome == Outcome.COMPLETE for _, evaluation in tasks_of(store, stored))
    results = [evaluation.result for _, evaluation in tasks_of(store, stored)]
    assert f"evaluation-{stored.study_id}-{taken[0]}-2" in results
    assert f"evaluation-{stored.study_id}-{taken[0]}-1" not in results


def test_a_stop_releases_the_evaluation_and_another_run_ends_it(
    store: Store, small: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = save_study(store, small())
    stop = StopRequest()
    begun: list[Any] = []

    def stop_in_the_second(*arguments: Any, **named: Any) -> pd.DataFrame:
        begun.append(arguments)
        if len(begun) == 2:
            stop.set()
        return forecast_windows(*arguments, **named)

    monkeypatch.setattr(evaluation_runner, "forecast_windows", stop_in_the_second)
    run(store, stored, stop)
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.phase, counts.evaluated, counts.evaluating) == (Phase.VERIFICATION, 1, 0)
    released = next(evaluation for _, evaluation in tasks_of(store, stored)[1:])
    assert (released.outcome, released.result) == (None, None)
    run(store, stored)
    assert slots.count(store.engine, stored.study_id).is_done
    assert all(evaluation.outcome == Outcome.COMPLETE for _, evaluation in tasks_of(store, stored))
    assert max(count for _, count in attempts(store, stored)) == 2


@pytest.mark.parametrize("fails", ["always", "once"])
def test_an_evaluation_that_fails_does_not_stop_the_study(
    store: Store, small: Make, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    stored = save_study(store, small(max_retries=0))
    failed: list[Any] = []

    def fail(*arguments: Any, **named: Any) -> pd.DataFrame:
        if fails == "always" or not failed:
            failed.append(arguments)
            raise RuntimeError("shapes do not fit")
        return forecast_windows(*arguments, **named)

    monkeypatch.setattr(evaluation_runner, "forecast_windows", fail)
    run(store, stored)
    assert slots.count(store.engine, stored.study_id).is_done
    done = tasks_of(store, stored)
    reasons = {evaluation.reason for task, evaluation in done if evaluation.outcome == Outcome.FAILED}
    assert reasons == {"RuntimeError: shapes do not fit"}
    models = [evaluation.outcome for task, evaluation in done if task.baseline is None]
    assert models.count(Outcome.COMPLETE) == (0 if fails == "always" else len(models) - 1)
    assert all(evaluation.outcome == Outcome.COMPLETE for task, evaluation in done if task.baseline is not None)


def test_two_workers_plan_a_phase_once(store: Store, small: Make) -> None:
    stored = save_study(store, small())
    first, second = (Worker(store, [stored], StopRequest()).runners[0] for _ in range(2))
    with first, second:
        while (claim := first.claim()) is not None:
            first.run(claim)
        counts = first.counts()
        assert [EvaluationRunner(runner).advance(counts) for runner in (first, second)] == [True, False]
        assert not EvaluationRunner(second).advance(second.counts()), "evaluations are open"
        held = EvaluationRunner(second).claim()
        assert held is not None
        assert first.counts().evaluating == 1
        expire(store, held)
        assert reaper.reap(store.engine, stored.study_id) == [held.slot]
    assert phase_of(store, stored) == Phase.VERIFICATION
