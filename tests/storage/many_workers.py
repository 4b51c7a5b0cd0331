"""python -m tests.storage.many_workers URL WORKERS: they fill the slots of study "air"; prints their exit codes.

All are forked from one process that has imported everything and has no connection.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time

import optuna
from optuna.trial import TrialState

from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.store import open_store
from castpool.storage.study.studies import open_study

N_REPORTS = 5


def work(url: str, seed: int) -> None:
    """Fill slots until all have ended."""
    chance = random.Random(seed)
    with open_store(url, application_name=f"castpool worker {seed}", patience_seconds=60) as store:
        stored = open_study(store, "air")
        worker = worker_registry.join(store.engine, stored.study_id, "host", os.getpid())
        sampler = optuna.samplers.RandomSampler(seed)
        study = optuna.load_study(study_name="air", storage=store.trials, sampler=sampler)
        while not slots.count(store.engine, stored.study_id).is_done:
            reaper.reap(store.engine, stored.study_id)
            claim = slots.claim(store.engine, stored.study_id, worker)
            if claim is None:
                time.sleep(0.1)
                continue
            trial = begin_trial(study, claim, {"worker": worker})
            value = trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)
            for step in range(N_REPORTS):
                time.sleep(chance.uniform(0.05, 0.15))
                trial.report(value, step)
            end_trial(study, trial, claim, TrialState.COMPLETE, value, outcome="complete", user_attrs={"seed": seed})


def main() -> None:
    """Run the workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url, workers = sys.argv[1], int(sys.argv[2])
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=work, args=(url, seed)) for seed in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])


if __name__ == "__main__":
    main()
