"""`castpool tune --backend ray` in processes of its own: it ends, or is killed, or hangs, and loses nothing."""

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
    return [own for own in children if "ray::" in " ".join(own.cmdline()[:1])]


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
    assert TrialState.RUNNING not in [own.state for own in load(database).trials]

    code, out, err = finished(castpool(*command))
    assert code == 0, err
    told = [(own.state.name, own.user_attrs.get("reason")) for own in load(database).trials]
    assert sum(state in ("COMPLETE", "PRUNED") for state, _ in told) == 4, told
    best = json.loads(out)
    assert best["value"] <= best["default_value"]
    assert {own["subject"] for own in best["decisions"]} >= {"searcher", "scheduler"}
    assert (tmp_path / best["out"] / "report.html").is_file()


def test_killed_it_goes_on(castpool: Start, database: str, data: Path) -> None:
    process = castpool(*RAY, "--trials", "3", "--max-steps", "200")
    wait_for(process, lambda: ended(database) >= 1)
    os.kill(driver_of(database), signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 0, err
    assert "a worker died (exit code -9)" in err
    assert_all_told(database, 3)


# What ends a hanging process is tested with the others (tests/training/test_ray.py); here, that the command goes on.
@pytest.mark.slow
def test_hanging_it_is_started_anew(castpool: Start, database: str, data: Path) -> None:
    process = castpool(*RAY, "--trials", "4", "--max-steps", "200", "--hang-seconds", "60")
    wait_for(process, lambda: ended(database) >= 1 and bool(trainers(process)))
    for own in trainers(process):
        own.send_signal(signal.SIGSTOP)
    code, _, err = finished(process)
    assert code == 0, err
    assert "Ray has said nothing for" in err
    assert_all_told(database, 4)


def driver_of(database: str) -> int:
    """Return the process id of the study's one worker."""
    running = [own.user_attrs for own in load(database).trials if own.state == TrialState.RUNNING]
    return int(next(own["castpool"]["pid"] for own in running if "castpool" in own))


def assert_all_told(database: str, trials: int) -> None:
    """So many trials have ended as trainings do, and none is left over."""
    told = [(own.state.name, own.user_attrs.get("reason")) for own in load(database).trials]
    assert sum(state in ("COMPLETE", "PRUNED") for state, _ in told) == trials, told
    assert "RUNNING" not in {state for state, _ in told}
