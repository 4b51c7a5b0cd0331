"""The share of time that many workers spend in trials that only sleep; the storage takes the rest."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import slots, worker_registry
from castpool.storage.store import open_store
from tests.benchmarks.storage_cost import N_REPORTS, SPACE, create_with_slots, make_reports

FORK = multiprocessing.get_context("fork")  # of a process that has imported all modules, so that hundreds fit in memory


@dataclass(frozen=True)
class Load:
    """The number of workers, the trials of each, their seconds, and the sampler.

    Trials of one length always start and end at the same time. With a ``spread`` of 0.5, they take from half to one and
    a half of that time, as trainings do.
    """

    workers: int
    trials_a_worker: int
    trial_seconds: float
    sampler: str
    spread: float = 0.0

    def seconds(self, seed: int, number: int) -> float:
        """Return how long a trial sleeps."""
        return self.trial_seconds * (1 + random.Random(f"{seed} {number}").uniform(-self.spread, self.spread))


@dataclass(frozen=True)
class Outcome:
    """The share of the workers' time that they spent in trials, and how many of them died."""

    share: float
    dead: int
    trials: int


class Gate:
    """Workers wait here for each other before their clocks start, and record how long they slept and worked."""

    def __init__(self) -> None:
        self._there, self._open = FORK.Value("i", 0), FORK.Event()
        self._slept, self._worked = FORK.Value("d", 0.0), FORK.Value("d", 0.0)

    def pass_through(self) -> None:
        """Wait until all workers have arrived."""
        with self._there.get_lock():
            self._there.value += 1
        self._open.wait(300)
        self._passed_at = time.monotonic()

    def leave(self) -> None:
        """Stop this worker's clock at its end."""
        with self._worked.get_lock():
            self._worked.value += time.monotonic() - self._passed_at

    def add(self, seconds: float) -> None:
        """Record the seconds that a trial slept."""
        with self._slept.get_lock():
            self._slept.value += seconds

    @property
    def slept(self) -> float:
        """The seconds that all workers have slept."""
        return float(self._slept.value)

    @property
    def share(self) -> float:
        """The share of all workers' time that they slept."""
        return float(self._slept.value / self._worked.value)

    def open(self, processes: Sequence[Any]) -> None:
        """Open the gate when each worker has arrived or died."""
        while self._there.value < sum(process.is_alive() for process in processes):
            time.sleep(0.01)
        self._open.set()


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Return the sampler of one worker."""
    return RandomSampler(seed) if name == "random" else TPESampler(seed=seed, multivariate=True, constant_liar=True)


def sleep_through(trial: optuna.Trial, seconds: float, chance: random.Random) -> float:
    """Report as a training does, and sleep between; return the last value."""
    params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
    trial.set_user_attr("config", {"size": 64, "rate": 0.001})
    value = 0.0
    for step, value in enumerate(make_reports(params, chance), start=1):
        time.sleep(seconds / N_REPORTS)
        trial.report(value, step)
    return value


def castpool_worker(url: str, load: Load, seed: int, gate: Gate) -> None:
    """Fill slots, as castpool's workers do."""
    with open_store(url, application_name=f"castpool worker {seed}", patience_seconds=60) as store:
        study = optuna.load_study(study_name="load", storage=store.trials, sampler=make_sampler(load.sampler, seed))
        worker = worker_registry.join(store.engine, study._study_id, "here", os.getpid())
        gate.pass_through()
        while (claim := slots.claim(store.engine, study._study_id, worker)) is not None:
            trial = begin_trial(study, claim, {"worker": worker})
            seconds = load.seconds(seed, claim.slot)
            value = sleep_through(trial, seconds, random.Random(claim.slot))
            end_trial(study, trial, claim, TrialState.COMPLETE, value, outcome="complete", user_attrs={"seconds": 1.0})
            gate.add(seconds)
        gate.leave()


def rdb_worker(url: str, load: Load, seed: int, gate: Gate) -> None:
    """Ask and tell, as a script on Optuna's own storage does."""
    storage = optuna.storages.RDBStorage(url, skip_table_creation=True)
    study = optuna.load_study(study_name="load", storage=storage, sampler=make_sampler(load.sampler, seed))
    gate.pass_through()
    for number in range(load.trials_a_worker):
        trial = study.ask()
        value = sleep_through(trial, load.seconds(seed, number), random.Random(number))
        study.tell(trial, value)
        gate.add(load.seconds(seed, number))
    gate.leave()


def measure(url: str, load: Load, worker: Callable[..., None], *, is_ours: bool) -> Outcome:
    """Run the load on an empty database and return the outcome."""
    budget = load.workers * load.trials_a_worker
    with open_store(url) as store:
        if is_ours:
            create_with_slots(store, "load", budget)
        else:
            optuna.create_study(storage=store.trials, study_name="load")
    gate = Gate()
    processes = [FORK.Process(target=worker, args=(url, load, seed, gate)) for seed in range(load.workers)]
    for process in processes:
        process.start()
    gate.open(processes)
    for process in processes:
        process.join()
    dead = sum(process.exitcode != 0 for process in processes)
    return Outcome(gate.share, dead, round(gate.slept / load.trial_seconds))
