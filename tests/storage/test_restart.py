"""The server crashes and comes back in the middle of many working workers; and one that has too few connections."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage import slots
from storage.store import Store, open_store
from tests.own_server import own_server
from tests.storage.helpers import eventually, load, make_study

ROOT = Path(__file__).resolve().parents[2]


def has_ended(store: Store, study_id: int, trials: int) -> bool:
    """Whether so many trials have ended."""
    return slots.count(store.engine, study_id).ended >= trials


@pytest.mark.parametrize(
    ("workers", "connections", "crashes"), [(32, 100, 2), (24, 12, 0)], ids=["two crashes", "few connections"]
)
def test_no_worker_dies_and_no_trial_is_lost_or_made_twice(workers: int, connections: int, crashes: int) -> None:
    trials = 4 * workers
    with own_server(connections) as server:
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
            told = load(store).trials
            counts = slots.count(store.engine, stored.study_id)

    assert out == f"{[0] * workers}\n", err
    assert (counts.slots, counts.ended, counts.leased) == (trials, trials, 0)
    assert [own.number for own in told] == list(range(len(told)))
    assert [own.state for own in told] == [TrialState.COMPLETE] * trials
    assert sorted(own.user_attrs["castpool"]["slot"] for own in told) == list(range(trials))
    assert all(len(own.params) == 2 and len(own.intermediate_values) == 5 for own in told)
