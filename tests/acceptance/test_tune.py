"""`castpool tune` from end to end: processes, signals, resumption, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from neuralforecast import NeuralForecast
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from tests.acceptance.conftest import QUICK, finished, monthly

Start = Callable[..., "subprocess.Popen[str]"]
FILES = ["best.json", "forecast.csv", "forecast.png", "model", "report.html", "trials.csv", "weights.json"]


def load(database: str, name: str = "data-MLP-h4") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=database)


def ended(database: str) -> int:
    """How many slots have ended; -1 before the tables hold a study."""
    engine = create_engine(database)
    with engine.connect() as connection:
        query = "SELECT count(*), count(*) FILTER (WHERE ended_at IS NOT NULL) FROM castpool_slots WHERE kind = 'trial'"
        slots, done = connection.execute(text(query)).one()
    engine.dispose()
    return int(done) if slots else -1


def worker_pids(database: str, *, present: bool = False) -> set[int]:
    """Return the process ids of the workers that have joined the study; with ``present`` those that have not left."""
    engine = create_engine(database)
    with engine.connect() as connection:
        query = "SELECT pid FROM castpool_workers" + " WHERE left_at IS NULL" * present
        pids = {int(pid) for pid in connection.execute(text(query)).scalars()}
    engine.dispose()
    return pids


def running_pids(database: str) -> set[int]:
    """Return the process ids of the workers that train a trial at this moment."""
    trials = [trial for trial in load(database).trials if trial.state == TrialState.RUNNING]
    return {trial.user_attrs["castpool"]["pid"] for trial in trials if "castpool" in trial.user_attrs}


def idle_workers(database: str, study: optuna.Study) -> set[int]:
    """Return the process ids of workers that trained nothing, though three trials began or more after they had joined.

    On a busy machine a worker may join when the other has claimed the last slot.
    """
    query = """
        SELECT w.pid FROM castpool_workers w
         WHERE (SELECT count(*) FROM trials t WHERE t.datetime_start AT TIME ZONE 'utc' > w.joined_at) >= 3
        """
    engine = create_engine(database)
    with engine.connect() as connection:
        early = {int(pid) for pid in connection.execute(text(query)).scalars()}
    engine.dispose()
    trained = {trial.user_attrs["castpool"]["pid"] for trial in study.trials}
    assert trained <= worker_pids(database)
    return early - trained


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool], timeout_seconds: float = 600) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"the condition was not met within {timeout_seconds} s"
        time.sleep(0.05)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    monthly(3).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


@pytest.mark.smoke
def test_a_study_from_one_command_to_all_files(castpool: Start, database: str, data: Path, tmp_path: Path) -> None:
    command = ["tune", "data.csv", *QUICK, "--max-steps", "200", "--trials", "8", "--workers", "2"]
    command += ["--finalists", "0", "--json"]  # without finalists the lowest loss wins
    code, out, err = finished(castpool(*command))
    assert code == 0, err

    best = json.loads(out)
    folder = tmp_path / best["out"]
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert best["value"] <= best["default_value"]
    assert sum(best["trials"].values()) == 8
    assert {decision["subject"] for decision in best["decisions"]} >= {"space", "sampler", "pruner", "max_steps"}
    assert all(decision["reason"] for decision in best["decisions"])
    assert best["versions"]["neuralforecast"]

    study = load(database)
    assert len(study.trials) == 8
    # Whether anything is pruned here depends on which of two quick workers is first.
    assert {TrialState.COMPLETE} <= {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.best_value == best["value"]
    assert len(worker_pids(database)) == 2
    assert idle_workers(database, study) == set()
    default = next(trial for trial in study.trials if trial.user_attrs["castpool"]["slot"] == 0)
    assert default.value == best["default_value"]
    assert default.params["learning_rate"] == 0.001

    forecast = pd.read_csv(folder / "forecast.csv", parse_dates=["ds"])
    assert forecast.groupby("unique_id").size().to_dict() == {"s0": 4, "s1": 4, "s2": 4}
    assert forecast["ds"].min() == pd.Timestamp("2020-01-01")
    again = NeuralForecast.load(str(folder / "model")).predict()
    models = [name for name in again if name not in ("unique_id", "ds")]
    assert models
    for name in models:
        assert again[name].tolist() == pytest.approx(forecast[name].tolist(), rel=1e-4)
    weights = json.loads((folder / "weights.json").read_text(encoding="utf-8"))["weights"]
    average = sum(weight * forecast[name] for name, weight in weights.items())
    delivered = "ensemble" if len(weights) > 1 else models[0]
    assert forecast[delivered].tolist() == pytest.approx(average.tolist(), rel=1e-4)
    assert best["verdict"]["chosen"] == ("ensemble" if len(weights) > 1 else "single best")
    assert {each["against"] for each in best["verdict"]["comparisons"]} >= {"seasonal naive"}
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 8
    assert set(trials["hidden_size"]) <= {8, 16}
    assert "https://" not in (folder / "report.html").read_text().split("<script", 1)[0]

    # The same command again: nothing is trained, and the same result is printed.
    (saved, *_) = sorted((folder / "model").glob("*.safetensors"))
    before = saved.stat().st_mtime_ns
    code, out, err = finished(castpool(*command))
    assert code == 0, err
    assert json.loads(out)["trial"] == best["trial"]
    assert len(load(database).trials) == 8
    assert saved.stat().st_mtime_ns == before

    # A larger budget resumes the study; a different configuration is refused, and the message shows the difference.
    code, out, err = finished(castpool(*command[:-1], "--trials", "10", "--quiet"))
    assert code == 0, err
    assert ended(database) == 10
    code, out, err = finished(castpool(*command, "--loss", "MSE"))
    assert code == 2
    assert 'loss: "MAE" before, "MSE" now' in err
    assert len(load(database).trials) == 10


def test_interrupted_and_run_again_it_ends_as_if_uninterrupted(castpool: Start, database: str, data: Path) -> None:
    # Many trials, so that some are left however late this process looks.
    command = ["tune", "data.csv", *QUICK, "--max-steps", "300", "--trials", "12", "--workers", "2"]
    first = castpool(*command)
    wait_for(first, lambda: ended(database) >= 2)
    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal does: to the pool and to its workers
    code, _, err = finished(first)
    assert code == 130
    assert "run the same command again to resume" in err
    at_stop = ended(database)
    assert 2 <= at_stop < 12
    assert TrialState.RUNNING not in [trial.state for trial in load(database).trials]
    assert worker_pids(database, present=True) == set(), "every worker releases its slot and leaves"

    code, _, err = finished(castpool(*command))
    assert code == 0, err
    trials = load(database).trials
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 12
    released = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert all("released" in trial.user_attrs["reason"] for trial in released)
    for old in released:
        slot = old.user_attrs["castpool"]["slot"]
        later = [trial for trial in trials if trial.number > old.number]
        new = next(trial for trial in later if trial.user_attrs["castpool"]["slot"] == slot)
        assert new.params == old.params
        assert new.user_attrs["castpool"]["retry_of"] == old.number


@pytest.mark.slow  # tests/chaos kills workers too
def test_a_killed_worker_costs_no_trial(castpool: Start, database: str, data: Path) -> None:
    # Many trials, so that some are left for the worker that takes the place of the killed one.
    process = castpool("tune", "data.csv", *QUICK, "--max-steps", "300", "--trials", "12", "--workers", "2")
    wait_for(process, lambda: ended(database) >= 0 and len(running_pids(database)) == 2)
    victim = next(iter(running_pids(database) or worker_pids(database, present=True)))
    os.kill(victim, signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 0, err
    assert "a worker crashed" in err
    trials = load(database).trials
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 12
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    assert len(worker_pids(database)) == 3


def test_workers_end_when_the_process_that_started_them_is_killed(castpool: Start, database: str, data: Path) -> None:
    process = castpool("tune", "data.csv", *QUICK, "--max-steps", "2000", "--trials", "50", "--workers", "2")
    wait_for(process, lambda: ended(database) >= 0 and len(load(database).trials) >= 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert all(trial.state != TrialState.RUNNING for trial in load(database).trials)


def test_create_and_a_worker_elsewhere_do_what_tune_does(castpool: Start, database: str, data: Path) -> None:
    (data.parent / "spec.yaml").write_text(
        "data: data.csv\nmodel: MLP\nhorizon: 4\ntrials: 3\nmax_steps: 10\n"
        "space:\n  hidden_size: [8, 16]\n  num_layers: 2\n  learning_rate: {low: 0.001, high: 0.01, log: true}\n"
    )
    code, out, err = finished(castpool("create", "spec.yaml", "--json"))
    assert code == 0, err
    assert json.loads(out)["study"] == "data-MLP-h4"
    data.unlink()  # the data travels through the storage

    code, _, err = finished(castpool("worker"))
    assert code == 0, err
    trials = load(database).trials
    assert [trial.state.is_finished() for trial in trials] == [True] * 3
    assert all(0.001 <= trial.params["learning_rate"] <= 0.01 for trial in trials)

    code, out, _ = finished(castpool("status", "--json", "--profile"))
    status = json.loads(out)
    seconds = status["profile"]["seconds"]
    assert seconds["training"] > 0
    # The phases add up to the time that the storage counted: nothing is missing, and nothing counts twice.
    assert sum(seconds.values()) == pytest.approx(status["profile"]["working_seconds"], rel=0.1)
    assert (code, status["slots"], status["ended"], status["workers"]) == (0, 3, 3, [])
    code, out, _ = finished(castpool("best", "--json"))
    assert json.loads(out)["value"] == load(database).best_value
