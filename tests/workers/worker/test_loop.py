"""A worker in this process, on a real storage: it runs trials, and stops one whose lease it lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
from optuna.trial import TrialState
from sqlalchemy import text

from castpool.sampler_policies.errors import InputError
from castpool.storage.budget import reaper, slots
from castpool.storage.store import Store
from castpool.storage.study.studies import open_study
from castpool.workers.monitoring.time_profile import PHASES, read_profile
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker
from tests.storage.helpers import execute

Make = Callable[..., Draft]


def work(store: Store, draft: Draft, stop: StopRequest | None = None) -> optuna.Study:
    stored = save_study(store, draft)
    Worker(store, [stored], stop or StopRequest(), {stored.name: draft.job.objects}).run()
    return optuna.load_study(study_name=stored.name, storage=store.trials)


def test_a_worker_fills_every_slot_once(store: Store, draft: Make) -> None:
    study = work(store, draft())
    assert [trial.user_attrs["castpool"]["slot"] for trial in study.trials] == [0, 1, 2]
    assert all(trial.state.is_finished() for trial in study.trials)
    assert study.trials[0].state == TrialState.COMPLETE
    assert study.trials[0].user_attrs["config"]["learning_rate"] == 0.001
    assert [trial.user_attrs["sampler"] for trial in study.trials] == ["the model's defaults", "QMC", "QMC"]
    assert slots.count(store.engine, study._study_id).is_done


def test_a_worker_writes_down_where_its_time_went(store: Store, draft: Make) -> None:
    started = time.monotonic()
    study = work(store, draft())
    whole = time.monotonic() - started
    taken = [trial.user_attrs["seconds"] for trial in study.trials]
    assert all(
        {"setup", "training", "validation", "sampling", "storage"} <= seconds.keys() <= PHASES.keys()
        for seconds in taken
    )
    for trial, seconds in zip(study.trials, taken, strict=True):
        parts = seconds["setup"] + seconds["training"] + seconds["validation"]
        assert parts == pytest.approx(trial.user_attrs["training_seconds"], abs=0.01)
    profile = read_profile(store, open_study(store, study.study_name))
    summed = sum(sum(seconds.values()) for seconds in taken)
    evaluated = "SELECT sum(value::float) FROM castpool_slots, jsonb_each_text(seconds)"
    of_evaluations = execute(store, evaluated)[0][0]
    assert of_evaluations > 0 < profile.seconds["evaluation"]
    assert sum(profile.seconds.values()) == pytest.approx(summed + of_evaluations)
    assert summed + of_evaluations < whole


def test_a_worker_whose_slot_was_taken_writes_nothing_more_of_it_and_goes_on(store: Store, draft: Make) -> None:
    taken: list[int] = []

    class Take(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, *module: Any) -> None:
            if taken:
                return
            with store.engine.begin() as connection:
                past = "UPDATE castpool_slots SET lease_until = now() - interval '1 hour' WHERE lease_until IS NOT NULL"
                connection.execute(text(past))
                study_id = connection.execute(text("SELECT study_id FROM castpool_slots LIMIT 1")).scalar_one()
            taken.extend(reaper.reap(store.engine, study_id))

    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        return {"input_size": 8, "hidden_size": trial.suggest_int("hidden_size", 4, 8), "callbacks": [Take()]}

    study = work(store, draft(objects=PythonObjects(config=config)))
    assert taken == [0]
    lost, *others = study.trials
    assert lost.state == TrialState.FAIL
    assert lost.user_attrs["reason"].startswith("lost: worker ")
    assert "training_seconds" not in lost.user_attrs
    retry = next(trial for trial in others if trial.user_attrs["castpool"].get("retry_of") == 0)
    assert retry.params == lost.params
    assert [trial.state.is_finished() for trial in others] == [True] * 3
    assert slots.count(store.engine, study._study_id).is_done


def test_a_training_that_fails_ends_its_slot_with_the_reason(store: Store, draft: Make) -> None:
    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        width = trial.suggest_int("width", 4, 8)
        if getattr(trial, "number", 0) == 1:
            raise RuntimeError("shapes do not fit")
        return {"input_size": 8, "hidden_size": width}

    study = work(store, draft(objects=PythonObjects(config=config)))
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) <= 1
    assert study.trials[1].user_attrs["reason"] == "RuntimeError: shapes do not fit"
    assert slots.count(store.engine, study._study_id).is_done


def test_a_worker_is_replaced_after_so_many_trials(store: Store, draft: Make) -> None:
    stored = save_study(store, draft(recycle_after=2))
    assert Worker(store, [stored], StopRequest()).run()
    assert slots.count(store.engine, stored.study_id).ended == 2
    assert not Worker(store, [stored], StopRequest()).run(), "no worker is replaced once the study is done"
    trials = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert all(trial.user_attrs["memory_mb"] > 100 for trial in trials)
    assert all(trial.user_attrs["memory_peak_mb"] >= trial.user_attrs["memory_mb"] * 0.95 for trial in trials)
    assert all("neuralforecast" in trial.user_attrs["versions"] for trial in trials)


def test_a_trial_that_is_the_best_so_far_has_a_picture_of_its_forecast(store: Store, draft: Make) -> None:
    study = work(store, draft())
    best, pictured = float("inf"), []
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        files = [artifact.filename for artifact in optuna.artifacts.get_all_artifact_meta(trial, storage=store.trials)]
        assert files == (["validation.png"] if trial.value < best else [])
        best, pictured = min(best, trial.value), [*pictured, *files]
    assert pictured


@pytest.mark.parametrize("cut", ["pruner", "budget"])
def test_a_best_trial_that_was_cut_short_has_its_picture_too(store: Store, draft: Make, cut: str) -> None:
    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        rate, steps = (1e-9, 20) if getattr(trial, "number", 0) == 0 else (0.01, 100_000)
        width = trial.suggest_int("width", 4, 8)
        return {"input_size": 8, "hidden_size": width, "learning_rate": rate, "max_steps": steps}

    limits = {"trials": 2} if cut == "pruner" else {"trials": 9, "steps_budget": 30}
    pruner = optuna.pruners.ThresholdPruner(upper=-1.0) if cut == "pruner" else optuna.pruners.NopPruner()
    study = work(store, draft(**limits, val_check_steps=5, objects=PythonObjects(config=config, pruner=pruner)))
    best = study.best_trial
    assert (best.number, "it counts" in best.user_attrs["reason"]) == (1, True)
    kept = optuna.artifacts.get_all_artifact_meta(best, storage=store.trials)
    assert [artifact.filename for artifact in kept] == ["validation.png"]


def test_a_stop_before_the_first_slot_counts(store: Store, draft: Make) -> None:
    stop = StopRequest()
    stop.set()
    study = work(store, draft(), stop)
    assert study.trials == []
    assert slots.count(store.engine, study._study_id).ended == 0


def test_a_study_made_of_python_objects_is_refused_to_a_worker_without_them(store: Store, draft: Make) -> None:
    stored = save_study(store, draft(objects=PythonObjects(config=lambda trial: {"input_size": 8, "hidden_size": 8})))
    with pytest.raises(InputError, match="run the same Python again"):
        Worker(store, [stored], StopRequest())
