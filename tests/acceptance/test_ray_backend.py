"""`castpool tune --backend ray` in separate processes: it ends, is killed or hangs, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import QUICK, finished, monthly
from tests.acceptance.test_tune import ended, load, wait_for

Start = Callable[..., "subprocess.Popen[str]"]
RAY = ["tune", "data.csv", *QUICK, "--backend", "ray", "--workers", "2", "--json"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    monthly(3).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def trainers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return Ray's processes that train trials of a command."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "ray::" in " ".join(child.cmdline()[:1])]


def test_interrupted_and_run_again_it_ends_with_all_files(
    castpool: Start, database: str, data: Path, tmp_path: Path
) -> None:
    command = [*RAY, "--trials", "4", "--max-steps", "200"]
    first = castpool(*command)
    wait_for(first, lambda: ended(database) >= 1)
    os.killpg(first.pid, signal.SIGINT)
    code, _, err = finished(first)
    assert code == 130, err
    assert 1 <= ended(database) < 4
    assert TrialState.RUNNING not in [trial.state for trial in load(database).trials]

    code, out, err = finished(castpool(*command))
    assert code == 0, err
    endings = [(trial.state.name, trial.user_attrs.get("reason")) for trial in load(database).trials]
    assert sum(state in ("COMPLETE", "PRUNED") for state, _ in endings) == 4, endings
    best = json.loads(out)
    assert best["value"] <= best["default_value"]
    assert {decision["subject"] for decision in best["decisions"]} >= {"searcher", "scheduler"}
    assert (tmp_path / best["out"] / "report.html").is_file()


@pytest.mark.slow
def test_killed_it_goes_on(castpool: Start, database: str, data: Path) -> None:
    process = castpool(*RAY, "--trials", "3", "--max-steps", "200")
    wait_for(process, lambda: ended(database) >= 1)
    os.kill(driver_of(database), signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 0, err
    assert "a worker crashed (exit code -9" in err
    assert_all_ended(database, 3)


# tests/workers/ray_backend/test_driver.py tests that the watchdog ends a hanging process; here, the command continues.
@pytest.mark.slow
def test_hanging_it_is_started_anew(castpool: Start, database: str, data: Path) -> None:
    process = castpool(*RAY, "--trials", "4", "--max-steps", "200", "--hang-seconds", "60")
    wait_for(process, lambda: ended(database) >= 1 and bool(trainers(process)))
    for trainer in trainers(process):
        trainer.send_signal(signal.SIGSTOP)
    code, _, err = finished(process)
    assert code == 0, err
    assert "no report from Ray for" in err
    assert_all_ended(database, 4)


def driver_of(database: str) -> int:
    """Return the process id of the study's single worker."""
    running = [trial.user_attrs for trial in load(database).trials if trial.state == TrialState.RUNNING]
    return int(next(attrs["castpool"]["pid"] for attrs in running if "castpool" in attrs))


def assert_all_ended(database: str, trials: int) -> None:
    """Assert that so many trials are complete or pruned, and none is running."""
    endings = [(trial.state.name, trial.user_attrs.get("reason")) for trial in load(database).trials]
    assert sum(state in ("COMPLETE", "PRUNED") for state, _ in endings) == trials, endings
    assert "RUNNING" not in {state for state, _ in endings}
