"""A worker whose trainings are simulated: everything else is castpool's code, with shorter intervals.

Leases last two seconds here, not a minute. The losses are a function of the parameters and the step, so that a trial
of many attempts can be checked against an uninterrupted one.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pandas as pd

import castpool.storage.budget.slots
import castpool.workers.worker.evaluation_runner
import castpool.workers.worker.loop
import castpool.workers.worker.trial_runner
from castpool.storage.budget.outcome import Outcome
from castpool.storage.errors import StorageUnreachableError
from castpool.workers.evaluation.baselines import evaluate_baseline, find_baseline
from castpool.workers.evaluation.windows import Windows
from castpool.workers.pool import worker_process
from castpool.workers.spec.job import Job
from castpool.workers.training.checkpoint_store import CheckpointStore
from castpool.workers.training.ending import Ending
from castpool.workers.training.objective import TrainingResult, configure, record_config
from castpool.workers.training.phase_timer import PhaseTimer

LEASE_SECONDS = 2.0
MAX_STEPS = 60
CHECK_STEPS = 6
KEEP_STEPS = 10
STEP_SECONDS = 0.01
EVALUATION_STEPS = 20


def loss(params: Mapping[str, Any], step: int) -> float:
    """Return the validation loss of a configuration after so many steps."""
    far = math.log10(params["learning_rate"]) + 3
    others = [value for name, value in sorted(params.items()) if name != "learning_rate" and not isinstance(value, str)]
    return far * far + 0.1 * sum(others) + 10 / step


def simulated(
    job: Job,
    trial: optuna.Trial,
    *,
    is_prunable: bool,
    interruption: Callable[[int], Ending | None],
    checkpoints: CheckpointStore,
    failures: Mapping[str, int],
    spent: PhaseTimer,
) -> TrainingResult:
    """Do what `castpool.workers.training.objective.train` does, without a model."""
    config = configure(job, trial)
    record_config(trial, config)
    state: dict[str, Any] = json.loads(checkpoints.load() or b'{"step": 0, "best": null, "best_step": 0}')
    step, best, best_step = state["step"], state["best"], state["best_step"]
    ending = Ending(Outcome.COMPLETE)
    while step < MAX_STEPS:
        if (interrupted := interruption(step)) is not None:
            if interrupted.outcome == Outcome.STOPPED and step:
                checkpoints.save(json.dumps({"step": step, "best": best, "best_step": best_step}).encode(), step)
            ending = interrupted
            break
        if step and step % KEEP_STEPS == 0:
            checkpoints.save(json.dumps({"step": step, "best": best, "best_step": best_step}).encode(), step)
        time.sleep(STEP_SECONDS)
        step += 1
        os.write(STEPS, b".")
        if step % CHECK_STEPS == 0:
            value = loss(trial.params, step)
            trial.report(value, step)
            if best is None or value < best:
                best, best_step = value, step
            if step < MAX_STEPS and is_prunable and trial.should_prune():
                ending = Ending(Outcome.PRUNED, f"at step {step}")
                break
    return TrainingResult(ending, math.inf if best is None else best, best_step, 0.0, step)


def simulated_forecast(
    job: Job,
    config: Mapping[str, Any],
    step: int,
    seed: int,
    windows: Windows,
    is_stopped: Callable[[int], bool],
    *_: Any,
) -> pd.DataFrame:
    """Do what `castpool.workers.evaluation.forecasts.forecast_windows` does, without a model."""
    for done in range(min(step, EVALUATION_STEPS)):
        if is_stopped(done):
            break
        time.sleep(STEP_SECONDS)
    horizon = job.spec.horizon
    return evaluate_baseline(
        find_baseline("SeasonalNaive", 1),
        job.series.without_newest(windows.remaining).frame,
        job.series.freq,
        horizon=horizon,
        behind=windows.size,
        n_windows=windows.count(horizon),
        distance=windows.distance,
    )


# The file that gets a byte for each training step.
STEPS = -1


def hasten() -> None:
    """Shorten leases, and with them the time between two beats, and the pauses of worker and reaper."""
    castpool.storage.budget.slots.LEASE_SECONDS = LEASE_SECONDS
    castpool.workers.worker.trial_runner.REAP_SECONDS = 0.5
    castpool.workers.worker.loop.IDLE_SECONDS = 0.1


def skew(hours: float) -> None:
    """Let this process's clock be wrong: the time of day that Python and Optuna read."""
    real, wrong = time.time, datetime.timedelta(hours=hours)

    class Skewed(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(real(), tz) + wrong

    time.time = lambda: real() + wrong.total_seconds()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(("optuna", "castpool")) and (
            getattr(module, "datetime", None) is datetime.datetime
        ):
            module.datetime = Skewed  # type: ignore[attr-defined]


def work(url: str, study: str, steps: str, skew_hours: float, *, is_real: bool) -> None:
    """Work as a worker until the study is done."""
    global STEPS
    hasten()
    STEPS = os.open(steps, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if not is_real:
        castpool.workers.worker.trial_runner.train = simulated  # type: ignore[assignment]
        castpool.workers.worker.evaluation_runner.forecast_windows = simulated_forecast
    if skew_hours:
        skew(skew_hours)
    try:
        sys.exit(worker_process.main(url, [study], threads=1))
    except StorageUnreachableError:  # the server was unreachable when the worker started
        sys.exit(StorageUnreachableError.exit_code)
