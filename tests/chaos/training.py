"""A worker whose trainings are simulated: everything else about it is castpool's own, only in a hurry.

Leases last two seconds here, not a minute. The losses are a function of the parameters and the step, so that a trial
that went through many hands can be checked against one that did not.
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

import storage.reaper
import storage.roster
import storage.slots
import workers.desk
import workers.heartbeat
import workers.worker
from storage.errors import StorageUnreachableError
from workers import entry
from workers.checkpoints import Checkpoints
from workers.job import Job
from workers.objective import Trained, configure, record_config
from workers.time_spent import TimeSpent
from workers.validation_hook import Ending

LEASE_SECONDS = 2.0
MAX_STEPS = 60
CHECK_STEPS = 6
KEEP_STEPS = 10
STEP_SECONDS = 0.01


def loss(params: Mapping[str, Any], step: int) -> float:
    """Return the validation loss of a configuration after so many steps."""
    far = math.log10(params["learning_rate"]) + 3
    others = [own for name, own in sorted(params.items()) if name != "learning_rate" and not isinstance(own, str)]
    return far * far + 0.1 * sum(others) + 10 / step


def simulated(
    job: Job,
    trial: optuna.Trial,
    *,
    is_prunable: bool,
    interruption: Callable[[int], Ending | None],
    checkpoints: Checkpoints,
    failures: Mapping[str, int],
    spent: TimeSpent,
) -> Trained:
    """Do what `workers.objective.train` does, without a model."""
    config = configure(job, trial)
    record_config(trial, config)
    state: dict[str, Any] = json.loads(checkpoints.load() or b'{"step": 0, "best": null, "best_step": 0}')
    step, best, best_step = state["step"], state["best"], state["best_step"]
    ending = Ending("complete")
    while step < MAX_STEPS:
        if (interrupted := interruption(step)) is not None:
            if interrupted.outcome == "stopped" and step:
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
                ending = Ending("pruned", f"at step {step}")
                break
    return Trained(ending, math.inf if best is None else best, best_step, 0.0, step)


# Where each step that anybody trains leaves a byte.
STEPS = -1


def hasten() -> None:
    """Let leases, beats and the reaper be thirty times as fast."""
    storage.slots.LEASE_SECONDS = storage.reaper.LEASE_SECONDS = storage.roster.LEASE_SECONDS = LEASE_SECONDS
    workers.heartbeat.BEAT_SECONDS = LEASE_SECONDS / 5
    workers.desk.REAP_SECONDS = 0.5
    workers.worker.IDLE_SECONDS = 0.1


def skew(hours: float) -> None:
    """Let this process's clock be wrong by so much: what Python and Optuna ask for the time of day."""
    real, wrong = time.time, datetime.timedelta(hours=hours)

    class Skewed(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(real(), tz) + wrong

    time.time = lambda: real() + wrong.total_seconds()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(("optuna", "storage", "workers")) and (
            getattr(module, "datetime", None) is datetime.datetime
        ):
            module.datetime = Skewed  # type: ignore[attr-defined]


def work(url: str, study: str, steps: str, skew_hours: float, *, is_real: bool) -> None:
    """Be a worker until the study is done."""
    global STEPS
    hasten()
    STEPS = os.open(steps, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if not is_real:
        workers.desk.train = simulated  # type: ignore[assignment]
    if skew_hours:
        skew(skew_hours)
    try:
        sys.exit(entry.main(url, [study], threads=1))
    except StorageUnreachableError:  # the server was away when it came up
        sys.exit(StorageUnreachableError.exit_code)
