"""Trials per minute of many workers: everything of castpool runs, except that the training only sleeps.

    python -m tests.benchmarks.throughput --workers 32 --minutes 2

Every worker is a castpool process with policies, reports at each check, heartbeats and the log; a thread keeps MLflow
up to date if one is named. A trial takes from half to one and a half of --seconds, less if it is pruned.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

import castpool.workers.worker.trial_runner
from castpool.storage.store import open_store
from castpool.storage.study import snapshot
from castpool.storage.study.statistics import tally
from castpool.workers.mlflow_tracking.background import BackgroundTracker
from castpool.workers.planning.create_study import draft_study, save_study
from castpool.workers.pool import worker_process
from castpool.workers.spec.job import Job
from castpool.workers.spec.study_spec import make_spec
from castpool.workers.training.checkpoint_store import CheckpointStore
from castpool.workers.training.ending import Ending
from castpool.workers.training.objective import TrainingResult, configure, record_config
from castpool.workers.training.phase_timer import PhaseTimer
from tests.chaos.arena import panel
from tests.chaos.training import loss
from tests.private_server import private_server

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["castpool.workers.pool.preload", "tests.benchmarks.throughput"])
MAX_STEPS, CHECK_STEPS = 500, 25


def work(url: str, study: str, seconds: float) -> None:
    """Run a worker whose trainings sleep."""

    def sleep_through(
        job: Job,
        trial: optuna.Trial,
        *,
        is_prunable: bool,
        interruption: Callable[[int], Ending | None],
        checkpoints: CheckpointStore,
        failures: Mapping[str, int],
        spent: PhaseTimer,
    ) -> TrainingResult:
        record_config(trial, configure(job, trial))
        pause = seconds * random.uniform(0.5, 1.5) * CHECK_STEPS / MAX_STEPS
        ending, best, best_step, slept = Ending("complete"), float("inf"), 0, 0.0
        for step in range(CHECK_STEPS, MAX_STEPS + 1, CHECK_STEPS):
            time.sleep(pause)
            slept += pause
            if (interrupted := interruption(step)) is not None:
                return TrainingResult(interrupted, best, best_step, slept, step)
            value = loss(trial.params, step)
            trial.report(value, step)
            if value < best:
                best, best_step = value, step
            if step < MAX_STEPS and is_prunable and trial.should_prune():
                ending = Ending("pruned", f"at step {step}")
                break
        return TrainingResult(ending, best, best_step, slept, step)

    castpool.workers.worker.trial_runner.train = sleep_through  # type: ignore[assignment]
    sys.exit(worker_process.main(url, [study], threads=1))


def spec(n_workers: int, trials: int) -> dict[str, Any]:
    """Return the study's spec: policies choose sampler and pruner."""
    space = {"hidden_size": [8, 16, 32, 64], "num_layers": {"low": 1, "high": 4}, "batch_size": 1, "input_size": 8}
    return {
        "name": "fleet", "model": "MLP", "horizon": 4, "trials": trials, "workers": n_workers,
        "max_steps": MAX_STEPS, "val_check_steps": CHECK_STEPS, "space": space,
    }  # fmt: skip


def measure(n_workers: int, seconds: float, minutes: float, uri: str | None) -> dict[str, float]:
    """Return trials per minute from the start of all workers on, and the study's statistics."""
    trials = int(n_workers * minutes * 60 / seconds * 4)  # more than can end in this time
    with private_server(max_connections=200) as server, open_store(server.url) as store:
        stored = save_study(store, draft_study(make_spec(spec(n_workers, trials)), panel()))
        processes = [CONTEXT.Process(target=work, args=(server.url, stored.name, seconds)) for _ in range(n_workers)]
        for process in processes:
            process.start()
        while (first := snapshot.take(store.engine, stored.study_id)).counts.leased < n_workers:
            time.sleep(0.5)
        before, began = first.counts.ended, time.monotonic()
        with BackgroundTracker(store, [stored], uri, print):
            time.sleep(minutes * 60)
            view, took = snapshot.take(store.engine, stored.study_id), time.monotonic() - began
        numbers = tally(store.engine, stored.study_id)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    ended = view.counts.ended - before
    return {
        "trials per minute": 60 * ended / took,
        "ended": ended,
        "pruned": numbers.pruned,
        "failed": numbers.failed,
        "share in training": numbers.training_seconds / numbers.working_seconds,
        "in MLflow": numbers.runs or 0,
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[32])
    parser.add_argument("--seconds", type=float, default=30.0, help="of a trial that is not pruned")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--tracking-uri", help="MLflow server that is kept up to date meanwhile")
    options = parser.parse_args()
    table = Table(title=f"trials of {options.seconds:g} s, {options.minutes:g} minutes")
    rows = [
        (n_workers, measure(n_workers, options.seconds, options.minutes, options.tracking_uri))
        for n_workers in options.workers
    ]
    for name in ("workers", *rows[0][1]):
        table.add_column(name, justify="right")
    for n_workers, values in rows:
        table.add_row(str(n_workers), *(f"{value:.3g}" for value in values.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
