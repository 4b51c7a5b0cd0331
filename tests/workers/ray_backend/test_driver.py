"""The Ray back-end: its trials belong to the study, however they end, and an interrupted run is resumed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import TrialState

from castpool.sampler_policies.errors import InputError
from castpool.storage.budget import slots
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.ray_backend.driver import TEMPORARY, RayDriver, start_ray
from castpool.workers.ray_backend.watchdog import EXIT_HUNG
from castpool.workers.results.refit import Fit, fit_members
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.signals import StopRequest

Make = Callable[..., Draft]

# One of each kind: feed-forward, recurrent, joint, attention with patches, a decoder, a linear model.
OTHERS = ("LSTM", "iTransformer", "PatchTST", "TFT", "DLinear")
REPRESENTATIVE = ("NHITS", *(pytest.param(model, marks=pytest.mark.slow) for model in OTHERS))


@pytest.fixture(scope="module", autouse=True)
def _ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for all tests of this file: it takes seconds to start."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cp-ray-", dir=TEMPORARY, ignore_cleanup_errors=True) as folder:
        start_ray(folder, cpus=2, gpus=0)
        yield
        ray.shutdown()


# Each of Ray's processes imports neuralforecast for ten seconds: one at a time where the test is not about several.
ONE: dict[str, Any] = {"backend": "ray", "workers": 1, "holdout": 0, "finalists": 0}


def work(store: Store, draft: Draft, stop: StopRequest | None = None) -> tuple[StoredStudy, list[Any]]:
    stored = save_study(store, draft)
    RayDriver(store, stored, stop or StopRequest()).run()
    return stored, optuna.load_study(study_name=stored.name, storage=store.trials).trials


@pytest.mark.parametrize("model", REPRESENTATIVE)
def test_a_study_ends_with_a_model_that_forecasts(store: Store, draft: Make, model: str) -> None:
    made = draft(**ONE, model=model, trials=2, space={}, max_steps=4)
    stored, trials = work(store, made)
    assert slots.count(store.engine, stored.study_id).is_done
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert [trial.user_attrs["sampler"] for trial in trials] == ["the model's defaults", "QMC"]
    assert all(trial.last_step == 4 and trial.value == min(trial.intermediate_values.values()) for trial in trials)
    best = min(trials, key=lambda trial: trial.value)
    fitted = fit_members([Fit(made.job, best, best.user_attrs["best_step"])], StopRequest(), lambda line: None)
    forecast = fitted.predict()
    assert len(forecast) == 3 * 4
    assert forecast[model].notna().all()


def test_the_scheduler_stops_trials_but_not_the_defaults(store: Store, draft: Make) -> None:
    made = draft(backend="ray", holdout=0, finalists=0, trials=8, workers=2, max_steps=12, val_check_steps=1)
    assert made.job.plan.decision("scheduler").choice == "ASHA"
    _, trials = work(store, made)
    states = [trial.state for trial in trials]
    assert states[0] == TrialState.COMPLETE
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(trial.last_step < 12 for trial in pruned)
    assert pruned[0].user_attrs["reason"] == f"Ray's scheduler stopped it after step {pruned[0].last_step}"
    assert len(trials) == 8


@pytest.mark.slow  # tests/acceptance/test_ray_backend.py stops a run by SIGINT
def test_a_run_that_is_stopped_releases_its_slots_and_is_resumed(store: Store, draft: Make) -> None:
    made = draft(
        backend="ray", holdout=0, finalists=0, trials=4, workers=2, max_steps=200, val_check_steps=10, scheduler="FIFO"
    )
    stored, stop = save_study(store, made), StopRequest()

    def stop_when_one_reports() -> None:
        while not any(trial.intermediate_values for trial in store.trials.get_all_trials(stored.study_id)):
            time.sleep(0.05)
        stop.set()

    watcher = threading.Thread(target=stop_when_one_reports)
    watcher.start()
    RayDriver(store, stored, stop).run()
    watcher.join()
    counts = slots.count(store.engine, stored.study_id)
    assert counts.ended < 4
    assert counts.leased == 0
    _, trials = work(store, made)
    assert slots.count(store.engine, stored.study_id).is_done
    released = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert released
    assert all(trial.user_attrs["reason"].startswith("released: ") for trial in released)
    retried = [trial for trial in trials if trial.user_attrs["castpool"].get("retry_of") == released[0].number]
    assert [trial.params for trial in retried] == [released[0].params]
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == 4


@pytest.mark.slow  # each starts Ray; tests/acceptance/test_ray_backend.py has the whole way
@pytest.mark.parametrize(
    ("space", "outcome", "reason"),
    [
        ({"learning_rate": {"value": 1e30}}, "diverged", "NaN"),
        ({"precision": {"value": "nope"}}, "failed", "Error"),
    ],
)
def test_how_a_training_fails_is_recorded(
    store: Store, draft: Make, space: dict[str, Any], outcome: str, reason: str
) -> None:
    made = draft(**ONE, trials=2, space={"hidden_size": [8, 16], **space})
    stored, trials = work(store, made)
    assert slots.count(store.engine, stored.study_id).is_done
    reasons = [trial.user_attrs.get("reason", "") for trial in trials]
    assert all(reason in recorded for recorded in reasons), reasons
    expected = TrialState.PRUNED if outcome == "diverged" else TrialState.FAIL
    assert [trial.state for trial in trials] == [expected] * 2


@pytest.mark.slow  # it starts Ray twice
def test_another_searcher_suggests_and_its_state_outlives_a_run(
    store: Store, draft: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = draft(**ONE, trials=3, searcher="HyperOpt", name="hyper")
    stored, trials = work(store, first)
    assert [trial.user_attrs["sampler"] for trial in trials] == ["the model's defaults", *["HyperOptSearch"] * 2]
    (kept,) = tmp_path.rglob("*.pkl")
    before = kept.read_bytes()
    _, trials = work(store, draft(**ONE, trials=5, searcher="HyperOpt", name="hyper"))
    assert len(trials) == 5
    assert slots.count(store.engine, stored.study_id).is_done
    assert kept.read_bytes() != before
    learning_rates = [trial.params["learning_rate"] for trial in trials[1:]]
    assert len(set(learning_rates)) == 4, "a searcher without its state would repeat its first points"


def test_a_study_goes_on_under_the_other_backend(store: Store, draft: Make) -> None:
    from castpool.workers.worker.loop import Worker

    stored, _ = work(store, draft(**ONE, trials=2, name="both"))
    again = save_study(store, draft(backend="optuna", holdout=0, finalists=0, trials=4, name="both"))
    assert again.study_id == stored.study_id
    Worker(store, [again], StopRequest()).run()
    assert slots.count(store.engine, stored.study_id).ended == 4


@pytest.mark.parametrize("step_size", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_trial_means_the_same_under_either_backend(store: Store, draft: Make, step_size: int) -> None:
    from castpool.workers.worker.loop import Worker

    space = {"hidden_size": {"value": 8}, "num_layers": 2, "step_size": {"value": step_size}}
    _, (by_ray,) = work(store, draft(backend="ray", holdout=0, finalists=0, trials=1, space=space, name="ray"))
    stored = save_study(store, draft(holdout=0, finalists=0, trials=1, space=space, name="pool"))
    Worker(store, [stored], StopRequest()).run()
    (by_pool,) = optuna.load_study(study_name="pool", storage=store.trials).trials
    assert by_ray.params == by_pool.params
    assert by_ray.intermediate_values == pytest.approx(by_pool.intermediate_values, rel=1e-4)
    assert by_ray.user_attrs["best_step"] == by_pool.user_attrs["best_step"]


def test_a_configuration_function_needs_optuna(draft: Make) -> None:
    with pytest.raises(InputError, match="backend: got ray; a configuration function needs Optuna's trials"):
        draft(backend="ray", objects=PythonObjects(config=lambda trial: {"input_size": 8}))


def test_a_silent_ray_ends_the_process() -> None:
    code = """
import time
from types import SimpleNamespace
from castpool.workers.ray_backend.watchdog import Watchdog
with Watchdog(SimpleNamespace(reported_at=0.0, stop=SimpleNamespace(is_set=False)), hang_seconds=0.5):
    time.sleep(60)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == EXIT_HUNG, ended.stderr
    assert "no report from Ray for" in ended.stderr
    assert "restarting it" in ended.stderr
