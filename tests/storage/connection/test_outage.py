"""Work under a server that ends every connection ten times a second: nothing that was reported or recorded is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import optuna
from optuna.trial import TrialState
from sqlalchemy import text

from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import open_study
from tests.storage.helpers import load, make_study, watcher

STORM_SECONDS = 3.0
NAME = "in the storm"
N_REPORTS = 5
STATES = {0: TrialState.COMPLETE, 1: TrialState.PRUNED, 2: TrialState.FAIL}


@contextmanager
def storm(url: str, application_name: str) -> Iterator[threading.Event]:
    """End all connections of that name every 100 ms for some seconds. Yields an event that says when it is over."""
    is_over = threading.Event()
    statement = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = :name AND datname = current_database()"
    )

    def blow() -> int:
        n_ended = 0
        with watcher(url) as watch:
            until = time.monotonic() + STORM_SECONDS
            while time.monotonic() < until:
                n_ended += watch.execute(statement, {"name": application_name}).scalar_one()
                time.sleep(0.1)
        is_over.set()
        return n_ended

    with ThreadPoolExecutor(1) as pool:
        blowing = pool.submit(blow)
        yield is_over
        assert blowing.result() >= 10, "the storm was none"


def work(url: str, is_over: threading.Event) -> dict[int, optuna.trial.FrozenTrial]:
    """Fill slots as a worker does, until the storm is over; return each recorded trial as it should be read."""
    recorded: dict[int, optuna.trial.FrozenTrial] = {}
    with open_store(url, application_name=NAME, patience_seconds=60) as store:
        stored = open_study(store, "air")
        worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
        sampler = optuna.samplers.RandomSampler()
        study = optuna.load_study(study_name="air", storage=store.trials, sampler=sampler)
        while len(recorded) < 2 or not is_over.is_set():
            claim = slots.claim(store.engine, stored.study_id, worker)
            assert claim is not None
            trial = begin_trial(study, claim, {"worker": worker})
            params = {"x": trial.suggest_float("x", 0, 1), "n": trial.suggest_int("n", 1, 9)}
            for step in range(N_REPORTS):
                trial.report(params["x"] + step, step)
                slots.beat(store.engine, claim)
            state = STATES[claim.slot % 3]
            value = params["x"] if state == TrialState.COMPLETE else None
            end_trial(study, trial, claim, state, value, outcome=state.name.lower(), user_attrs={})
            recorded[claim.slot] = trial._cached_frozen_trial
    return recorded


def test_nothing_is_lost(store: Store, database: str) -> None:
    stored = make_study(store, trials=500)

    with storm(database, NAME) as is_over, ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work, database, is_over) for _ in range(3)]
    recorded = {slot: trial for worker in workers for slot, trial in worker.result().items()}
    reaper.reap(store.engine, stored.study_id)
    found = {trial._trial_id: trial for trial in load(store).trials}

    assert slots.count(store.engine, stored.study_id).ended == len(recorded)
    for slot, expected in recorded.items():
        trial = found.pop(expected._trial_id)
        value = {
            TrialState.COMPLETE: expected.params["x"],
            TrialState.PRUNED: expected.params["x"] + N_REPORTS - 1,
            TrialState.FAIL: None,
        }
        assert trial.state == STATES[slot % 3]
        assert trial.params == expected.params
        assert trial.intermediate_values == {step: expected.params["x"] + step for step in range(N_REPORTS)}
        assert trial.value == value[trial.state]
    # The rest are rows whose creation got no answer: failed, empty, and no result of a worker.
    assert all(trial.state == TrialState.FAIL and not trial.params for trial in found.values())
