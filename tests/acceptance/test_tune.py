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
FILES = ["best.json", "forecast.csv", "forecast.png", "model", "report.html", "trials.csv"]


def load(database: str, name: str = "data-MLP-h4") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=database)


def ended(database: str) -> int:
    """How many slots have ended; -1 before the tables hold a study."""
    engine = create_engine(database)
    with engine.connect() as connection:
        query = "SELECT count(*), count(*) FILTER (WHERE ended_at IS NOT NULL) FROM castpool_slots"
        slots, done = connection.execute(text(query)).one()
    engine.dispose()
    return int(done) if slots else -1


def present(database: str) -> int:
    """How many workers have joined the study and not left it."""
    engine = create_engine(database)
    with engine.connect() as connection:
        here = connection.execute(text("SELECT count(*) FROM castpool_workers WHERE left_at IS NULL")).scalar_one()
    engine.dispose()
    return int(here)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool], timeout_seconds: float = 600) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    monthly(3).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def test_a_study_from_one_command_to_all_files(castpool: Start, database: str, data: Path, tmp_path: Path) -> None:
    # Trials so long that the second worker has one too, however much later it comes.
    command = ["tune", "data.csv", *QUICK, "--max-steps", "200", "--trials", "8", "--workers", "2", "--json"]
    code, out, err = finished(castpool(*command))
    assert code == 0, err

    best = json.loads(out)
    folder = tmp_path / best["out"]
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert best["value"] <= best["default_value"]
    assert sum(best["trials"].values()) == 8
    assert {own["subject"] for own in best["decisions"]} >= {"space", "sampler", "pruner", "max_steps"}
    assert all(own["reason"] for own in best["decisions"])
    assert best["versions"]["neuralforecast"]

    study = load(database)
    assert len(study.trials) == 8
    # Whether anything is pruned here depends on which of two quick workers is first.
    assert {TrialState.COMPLETE} <= {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.best_value == best["value"]
    assert len({trial.user_attrs["castpool"]["pid"] for trial in study.trials}) == 2
    default = next(trial for trial in study.trials if trial.user_attrs["castpool"]["slot"] == 0)
    assert default.value == best["default_value"]
    assert default.params["learning_rate"] == 0.001

    forecast = pd.read_csv(folder / "forecast.csv", parse_dates=["ds"])
    assert forecast.groupby("unique_id").size().to_dict() == {"s0": 4, "s1": 4, "s2": 4}
    assert forecast["ds"].min() == pd.Timestamp("2020-01-01")
    again = NeuralForecast.load(str(folder / "model")).predict()
    assert again["MLP"].tolist() == pytest.approx(forecast["MLP"].tolist(), rel=1e-4)
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 8
    assert set(trials["hidden_size"]) <= {8, 16}
    assert "https://" not in (folder / "report.html").read_text().split("<script", 1)[0]

    # The same command again: nothing is trained, and the same result is printed.
    before = (folder / "model" / "MLP_0.safetensors").stat().st_mtime_ns
    code, out, err = finished(castpool(*command))
    assert code == 0, err
    assert json.loads(out)["trial"] == best["trial"]
    assert len(load(database).trials) == 8
    assert (folder / "model" / "MLP_0.safetensors").stat().st_mtime_ns == before

    # A larger budget goes on where the study ended; a different meaning is refused with the difference.
    code, out, err = finished(castpool(*command[:-1], "--trials", "10", "--quiet"))
    assert code == 0, err
    assert ended(database) == 10
    code, out, err = finished(castpool(*command, "--loss", "MSE"))
    assert code == 2
    assert 'loss: "MAE" before, "MSE" now' in err
    assert len(load(database).trials) == 10


def test_interrupted_and_run_again_it_ends_as_if_uninterrupted(castpool: Start, database: str, data: Path) -> None:
    command = ["tune", "data.csv", *QUICK, "--max-steps", "400", "--trials", "6", "--workers", "2"]
    first = castpool(*command)
    wait_for(first, lambda: 2 <= ended(database) < 6)
    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal does: to the pool and to its workers
    code, _, err = finished(first)
    assert code == 130
    assert "the same command goes on" in err
    at_stop = ended(database)
    assert 2 <= at_stop < 6
    assert TrialState.RUNNING not in [trial.state for trial in load(database).trials]
    assert present(database) == 0, "every worker has handed back its slot and left"

    code, _, err = finished(castpool(*command))
    assert code == 0, err
    trials = load(database).trials
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 6
    handed_back = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert all("handed back" in trial.user_attrs["reason"] for trial in handed_back)
    for old in handed_back:
        slot = old.user_attrs["castpool"]["slot"]
        new = next(own for own in trials if own.number > old.number and own.user_attrs["castpool"]["slot"] == slot)
        assert new.params == old.params
        assert new.user_attrs["castpool"]["retry_of"] == old.number


def test_a_killed_worker_costs_no_trial(castpool: Start, database: str, data: Path) -> None:
    process = castpool("tune", "data.csv", *QUICK, "--max-steps", "300", "--trials", "6", "--workers", "2")
    wait_for(process, lambda: ended(database) >= 1)
    running = [own.user_attrs for own in load(database).trials if own.state == TrialState.RUNNING]
    victim = next(own["castpool"]["pid"] for own in running if "castpool" in own)
    os.kill(victim, signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 0, err
    assert "a worker died" in err
    trials = load(database).trials
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 6
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    assert len({trial.user_attrs["castpool"]["pid"] for trial in trials}) == 3


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
    # Of what workers did when the storage counted them, nothing is missing, and nothing counts twice.
    assert sum(seconds.values()) == pytest.approx(status["profile"]["working_seconds"], rel=0.1)
    assert (code, status["slots"], status["ended"], status["workers"]) == (0, 3, 3, [])
    code, out, _ = finished(castpool("best", "--json"))
    assert json.loads(out)["value"] == load(database).best_value
