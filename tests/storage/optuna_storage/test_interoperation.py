"""One study with castpool's workers and plain Optuna at the same time; both see the same trials."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi

from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store, open_store
from tests.storage.helpers import make_study

ROOT = Path(__file__).resolve().parents[3]
N_SLOTS, N_WORKERS, N_PLAIN = 24, 3, 8

PLAIN = f"""
import sys, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)

def objective(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    for step in range(5):
        time.sleep(0.05)
        trial.report(x + y, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return x + y

optuna.load_study(study_name="air", storage=sys.argv[1]).optimize(objective, n_trials={N_PLAIN})
"""


@pytest.fixture
def worked(store: Store, database: str) -> Store:
    """A store with one study on which five processes have worked together."""
    stored = make_study(store, trials=N_SLOTS)
    plain_url = database.replace("postgresql://", "postgresql+psycopg://")
    ours = [sys.executable, "-m", "tests.storage.many_workers", database, str(N_WORKERS)]
    theirs = [sys.executable, "-c", PLAIN, plain_url]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for command in (ours, theirs, theirs)
    ]
    ended = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert ended[0][0] == f"{[0] * N_WORKERS}\n"
    assert stored.name == "air"
    return store


def test_numbers_are_gapless_and_both_see_all(worked: Store, database: str) -> None:
    plain = RDBStorage(database.replace("postgresql://", "postgresql+psycopg://"))
    study_id = worked.trials.get_study_id_from_name("air")
    theirs = plain.get_all_trials(study_id)
    ours = PoolStorage(worked.engine).get_all_trials(study_id)
    plain.remove_session()
    plain.engine.dispose()

    assert [trial.number for trial in ours] == list(range(N_SLOTS + 2 * N_PLAIN))
    assert ours == theirs
    by_source = Counter("castpool" in trial.user_attrs for trial in ours)
    assert by_source == {True: N_SLOTS, False: 2 * N_PLAIN}
    assert all(trial.state.is_finished() for trial in ours)
    best = optuna.load_study(study_name="air", storage=PoolStorage(worked.engine)).best_trial
    assert best.value == min(trial.value for trial in theirs if trial.state == optuna.trial.TrialState.COMPLETE)


def get(app: Any, path: str, query: str = "") -> Any:
    """Ask a WSGI application and return the JSON that it answers."""
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda *_: None)))


def test_the_dashboard_shows_them(worked: Store, database: str) -> None:
    study_id = worked.trials.get_study_id_from_name("air")
    with open_store(database) as store:
        app = wsgi(store.trials)
        studies = get(app, "/api/studies")["study_summaries"]
        shown = get(app, f"/api/studies/{study_id}", "after=0")["trials"]

    assert [study["study_name"] for study in studies] == ["air"]
    assert [trial["number"] for trial in shown] == list(range(N_SLOTS + 2 * N_PLAIN))
