"""Many workers while the server crashes and restarts, and on a server with too few connections."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState

from castpool.storage.budget import slots
from castpool.storage.store import Store, open_store
from tests.private_server import private_server
from tests.storage.helpers import eventually, load, make_study

ROOT = Path(__file__).resolve().parents[3]


def has_ended(store: Store, study_id: int, trials: int) -> bool:
    """Whether at least ``trials`` trials have ended."""
    return slots.count(store.engine, study_id).ended >= trials


@pytest.mark.parametrize(
    ("workers", "connections", "crashes"), [(32, 100, 2), (24, 12, 0)], ids=["two crashes", "few connections"]
)
def test_no_worker_dies_and_no_trial_is_lost_or_made_twice(workers: int, connections: int, crashes: int) -> None:
    trials = 4 * workers
    with private_server(connections) as server:
        with open_store(server.url) as store:
            stored = make_study(store, trials=trials)
        command = [sys.executable, "-m", "tests.storage.many_workers", server.url, str(workers)]
        pool = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        with open_store(server.url, patience_seconds=60) as store:
            for crash in range(crashes):
                assert eventually(
                    partial(has_ended, store, stored.study_id, trials * (crash + 1) // (crashes + 2)), 120
                )
                server.stop(signal.SIGQUIT)
                server.start()
            out, err = pool.communicate(timeout=300)
            trials_found = load(store).trials
            counts = slots.count(store.engine, stored.study_id)

    assert out == f"{[0] * workers}\n", err
    assert (counts.slots, counts.ended, counts.leased) == (trials, trials, 0)
    assert [trial.number for trial in trials_found] == list(range(len(trials_found)))
    assert [trial.state for trial in trials_found] == [TrialState.COMPLETE] * trials
    assert sorted(trial.user_attrs["castpool"]["slot"] for trial in trials_found) == list(range(trials))
    assert all(len(trial.params) == 2 and len(trial.intermediate_values) == 5 for trial in trials_found)
