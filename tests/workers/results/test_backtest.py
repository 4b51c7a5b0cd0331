"""A backtest from the storage to its frame: equal to NeuralForecast's, resumed, and trained once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from sqlalchemy.engine import URL

import castpool
from castpool.sampler_policies.errors import InputError
from castpool.storage.budget import evaluations, reaper, slots
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.errors import StudyNotFoundError
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.evaluation.backtest_windows import BacktestRequest, BacktestWindows
from castpool.workers.evaluation.forecasts import forecast_windows
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.results.backtest import end_backtest, plan_backtest, read_backtest, write_backtest
from castpool.workers.results.finish import finish
from castpool.workers.results.result import NoResultError, Result
from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.fit import configuration_of
from castpool.workers.training.objective import model_arguments
from castpool.workers.worker import evaluation_runner
from castpool.workers.worker.loop import Worker
from tests.conftest import _database
from tests.storage.helpers import execute

# One validation check, at the last step: every configuration is trained to its end, as NeuralForecast trains it.
SPEC: dict[str, Any] = {
    "name": "air",
    "holdout": 4,
    "val_size": 4,
    "finalists": 0,
    "trials": 2,
    "val_check_steps": 6,
    "time_budget": 3600.0,
}
HORIZON, STEPS = 4, 6
Make = Callable[..., Draft]


class Finished:
    """A finished study, and the folder of its result."""

    def __init__(self, store: Store, stored: StoredStudy, job: Job, result: Result) -> None:
        self.store, self.stored, self.job, self.result = store, stored, job, result
        self.url = store.url_for_others

    def run(self) -> None:
        Worker(self.store, [self.stored], StopRequest()).run()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name=self.stored.name, storage=self.store.trials).trials

    def tasks(self) -> dict[EvaluationTask, evaluations.Evaluation]:
        """Return what was evaluated for backtests."""
        found = evaluations.read_evaluations(self.store.engine, self.stored.study_id)
        by_task = {EvaluationTask.from_json(each.task): each for each in found}
        return {task: each for task, each in by_task.items() if task.phase == Phase.BACKTEST}


@pytest.fixture(scope="module")
def finished(server: URL, template: str, draft: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    for url in _database(server, f"TEMPLATE {template}"):
        with open_store(url) as store:
            drafted = draft(**SPEC)
            stored = save_study(store, drafted)
            Worker(store, [stored], StopRequest()).run()
            result = finish(store, [stored], tmp_path_factory.mktemp("result"), StopRequest(), lambda _: None)
            yield Finished(store, stored, drafted.job, result)


@pytest.fixture(autouse=True)
def _ended(finished: Finished) -> Iterator[None]:
    yield
    end_backtest(finished.store, [finished.stored.name])
    assert slots.count(finished.store.engine, finished.stored.study_id).is_done


@pytest.fixture
def ensemble(finished: Finished, tmp_path: Path) -> str:
    """The folder of a result that averages both trials: the first is the single best."""
    both = [
        {"name": f"MLP_{n}", "weight": w, "study": "air", "trial": n, "step": STEPS} for n, w in ((0, 0.7), (1, 0.3))
    ]
    best = {"study": "air", "trial": 0, "step": STEPS, "members": both}
    (tmp_path / "best.json").write_text(json.dumps(best))
    return str(tmp_path)


def by_neuralforecast(job: Job, trial: Any, frame: pd.DataFrame, n_windows: int) -> pd.DataFrame:
    """Return NeuralForecast's own cross-validation of a configuration, trained once."""
    arguments = {**model_arguments(job), **configuration_of(job, trial), "random_seed": job.spec.seed}
    arguments |= {"max_steps": STEPS, "early_stop_patience_steps": -1}
    fitted = NeuralForecast([job.model.model_class(**arguments)], freq=job.series.freq)
    found: pd.DataFrame = fitted.cross_validation(frame, n_windows=n_windows, step_size=HORIZON, val_size=0)
    return found.rename(columns={job.model.name: "single best"})[["unique_id", "ds", "cutoff", "y", "single best"]]


def test_it_is_what_neuralforecast_cross_validates(finished: Finished) -> None:
    planned = plan_backtest(finished.url, finished.stored.name, BacktestRequest(3, refit_every=2))
    assert planned.windows == BacktestWindows(HORIZON, 3, 2, HORIZON)
    assert planned.unfinished == ("air",)
    counts = slots.count(finished.store.engine, finished.stored.study_id)
    assert (counts.phase, counts.is_done) == (Phase.BACKTEST, False)
    finished.run()
    assert slots.count(finished.store.engine, finished.stored.study_id).phase == Phase.DONE
    done = read_backtest(finished.url, planned)
    assert list(done.frame) == ["unique_id", "ds", "cutoff", "y", *planned.competitors]
    assert set(planned.competitors) >= {"single best", "default configuration", "seasonal naive"}
    assert len(done.frame) == 3 * 3 * HORIZON

    job, trial = finished.job, finished.result.best["trial"]
    (part,) = planned.competitors["single best"]
    assert (part.trial, part.step) == (trial, STEPS)
    trials = finished.trials()
    older = job.series.without_newest(HORIZON).frame  # two windows from one training, then the third from another
    expected = pd.concat(
        [by_neuralforecast(job, trials[trial], older, 2), by_neuralforecast(job, trials[trial], job.series.frame, 1)]
    ).sort_values(["unique_id", "cutoff", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(done.frame[list(expected)], expected, check_dtype=False, rtol=1e-4)

    assert list(done.by_window["is_searched"]) == [True, True, False], "the last window is the holdout"


def test_the_newest_window_is_the_verdict_on_a_holdout_of_one_horizon(finished: Finished) -> None:
    planned = plan_backtest(finished.url, finished.stored.name, BacktestRequest(1))
    finished.run()
    done, verdict = read_backtest(finished.url, planned), finished.result.verdict
    assert verdict is not None
    assert done.metric == verdict.metric
    for competitor in verdict.competitors:
        assert done.metrics[competitor.name] == pytest.approx(dict(competitor.metrics), rel=1e-4)


def test_nothing_is_trained_twice_and_the_folder_names_the_same_result(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = BacktestRequest(2)
    first = plan_backtest(finished.url, finished.stored.name, request)
    finished.run()
    found = read_backtest(finished.url, first)
    before = finished.tasks()

    def refuse(*arguments: Any, **named: Any) -> pd.DataFrame:
        raise AssertionError("it was forecast before")

    monkeypatch.setattr(evaluation_runner, "forecast_windows", refuse)
    again = plan_backtest(finished.url, str(finished.result.out), request)
    assert (again.unfinished, again.windows) == ((), first.windows)
    assert "all of them done before" in again.sentence
    assert slots.count(finished.store.engine, finished.stored.study_id).is_done
    pd.testing.assert_frame_equal(read_backtest(finished.url, again).frame, found.frame, rtol=1e-5)
    assert finished.tasks() == before
    by_result = finished.result.backtest(2, storage=finished.url, progress="quiet")
    pd.testing.assert_frame_equal(by_result, found.frame, rtol=1e-5)
    by_name = castpool.backtest("air", windows=2, storage=finished.url, progress="quiet")
    pd.testing.assert_frame_equal(by_name, by_result)


def test_what_a_killed_worker_held_is_forecast_by_another(
    finished: Finished, ensemble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = BacktestRequest(2, refit_every=2, step_size=3)
    begun: list[Any] = []

    def die_in_the_second(*arguments: Any, **named: Any) -> pd.DataFrame:
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt  # no ending is written, as at SIGKILL
        return forecast_windows(*arguments, **named)

    plan_backtest(finished.url, ensemble, request)
    monkeypatch.setattr(evaluation_runner, "forecast_windows", die_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        finished.run()
    ended = {task: each for task, each in finished.tasks().items() if each.outcome is not None}
    execute(
        finished.store, "UPDATE castpool_slots SET lease_until = now() - interval '1 hour' WHERE lease_until > now()"
    )
    assert len(reaper.reap(finished.store.engine, finished.stored.study_id)) == 1
    planned = plan_backtest(finished.url, ensemble, request)
    assert planned.unfinished == ("air",)
    finished.run()
    after = finished.tasks()
    assert {task: after[task] for task in ended} == ended
    assert len(read_backtest(finished.url, planned).frame) == 2 * 3 * HORIZON
    assert len(begun) == 3, "two configurations, one of them begun twice"


def test_a_competitor_that_cannot_be_forecast_is_left_out_with_the_reason(
    finished: Finished, ensemble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **named: Any) -> pd.DataFrame:
        raise RuntimeError("shapes do not fit")

    request = BacktestRequest(2, refit_every=2, step_size=5)
    planned = plan_backtest(finished.url, ensemble, request)
    with monkeypatch.context() as patched:
        patched.setattr(evaluation_runner, "forecast_windows", fail)
        finished.run()
    with pytest.raises(NoResultError, match="single best is left out, because a window was not forecast: RuntimeError"):
        read_backtest(finished.url, planned)

    planned = plan_backtest(finished.url, ensemble, request)  # what failed is tried again
    with monkeypatch.context() as patched:

        def fail_for_the_second(job: Job, config: Any, *arguments: Any, **named: Any) -> pd.DataFrame:
            if config == configuration_of(job, finished.trials()[1]):
                raise RuntimeError("shapes do not fit")
            return forecast_windows(job, config, *arguments, **named)

        patched.setattr(evaluation_runner, "forecast_windows", fail_for_the_second)
        finished.run()
    done = read_backtest(finished.url, planned)
    assert "ensemble" not in done.competitors
    assert done.competitors[0] == "single best"
    assert done.notes[0] == "ensemble is left out, because a window was not forecast: RuntimeError: shapes do not fit."
    failed = [task.trial for task, each in finished.tasks().items() if each.outcome == Outcome.FAILED]
    assert failed == [1]


def test_an_ensemble_is_the_weighted_average_of_its_members(finished: Finished, ensemble: str) -> None:
    planned = plan_backtest(finished.url, ensemble, BacktestRequest(2))
    finished.run()
    done = read_backtest(finished.url, planned)
    assert done.competitors[:2] == ["ensemble", "single best"]
    only_second = {"ensemble": {part: 1.0 for part in planned.competitors["ensemble"] if part.trial == 1}}
    second = read_backtest(finished.url, replace(planned, competitors=only_second)).frame["ensemble"]
    average = 0.7 * done.frame["single best"] + 0.3 * second
    pd.testing.assert_series_equal(done.frame["ensemble"], average, check_names=False)


def test_a_result_is_written_without_waiting_for_a_backtest(finished: Finished) -> None:
    plan_backtest(finished.url, finished.stored.name, BacktestRequest(4, refit_every=3, step_size=2))
    before = finished.tasks()
    again = finish(finished.store, [finished.stored], finished.result.out, StopRequest(), lambda _: None)
    assert again.best == finished.result.best
    assert finished.tasks() == before
    counts = slots.count(finished.store.engine, finished.stored.study_id)
    assert (counts.phase, counts.open_evaluations > 0) == (Phase.BACKTEST, True)


def test_its_files(finished: Finished, tmp_path: Path) -> None:
    planned = plan_backtest(finished.url, finished.stored.name, BacktestRequest(2))
    finished.run()
    done = read_backtest(finished.url, planned)
    table, picture = write_backtest(done, planned.study, tmp_path / "deep" / "folder")
    written = pd.read_csv(table, parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, done.frame, check_dtype=False)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_backtested_is_refused_in_a_sentence(finished: Finished, draft: Make, tmp_path: Path) -> None:
    def refused(target: str, windows: int | None = None) -> str:
        with pytest.raises((InputError, NoResultError, StudyNotFoundError)) as error:
            plan_backtest(finished.url, target, BacktestRequest(windows))
        return str(error.value)

    assert refused("sun").startswith("study: got 'sun', which is not in the storage; the studies there: air")
    assert refused("air", 99).startswith(
        "windows: got 99, which take 396 observations; series 'series-0' has 60 observations, which leaves nothing"
    )
    (tmp_path / "best.json").write_text("{")
    assert refused(str(tmp_path)).endswith("its best.json cannot be read: write the name of the study.")
    (tmp_path / "best.json").write_text(json.dumps({"study": "gone"}))
    assert refused(str(tmp_path)).startswith("study: got 'gone', which is not in the storage")
    under_way = save_study(finished.store, draft(**{**SPEC, "name": "wind"}))
    assert refused("wind") == (
        "study: got 'wind', which is not finished; end it first: run the same castpool tune again, or castpool pool "
        "wind."
    )
    execute(
        finished.store, "UPDATE castpool_studies SET stopped = 'all failed' WHERE study_id = :id", id=under_way.study_id
    )
    Worker(finished.store, [under_way], StopRequest()).run()
    assert refused("wind").startswith("none of the 2 trials completed")
    finished.store.trials.delete_study(under_way.study_id)
