"""The command line as a user has it: in this process for sentences, in processes of its own for work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import Result as CliResult
from typer.testing import CliRunner

from workers.cli import app

# A small model for a few steps: the whole way, in seconds.
QUICK = ["--model", "MLP", "--horizon", "4", "--max-steps", "20", "--space", "{hidden_size: [8, 16], num_layers: 2}"]


@pytest.fixture
def cli(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CliResult]:
    """Run a command in this process, on a database of the test's own, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CASTPOOL_STORAGE", database)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CASTPOOL_LOG_FORMAT", "text")

    def run(*arguments: str) -> CliResult:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


@pytest.fixture
def castpool(database: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in a process group of its own; whatever it leaves behind fails the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *arguments],
            cwd=tmp_path,
            env={**os.environ, "CASTPOOL_STORAGE": database, "PYTHONPATH": os.getcwd(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    groups = {process.pid for process in started}
    ours = [own for own in psutil.process_iter() if _group(own) in groups or _storage(own) == database]
    _, left = psutil.wait_procs(ours, timeout=5)
    left = [own for own in left if own.is_running() and own.status() != psutil.STATUS_ZOMBIE]
    for own in left:
        own.kill()
    assert left == []


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _storage(process: psutil.Process) -> str | None:
    """Return the storage that a process was started for: Ray's processes leave the group, but not the environment."""
    if process.pid == os.getpid():
        return None
    try:
        return process.environ().get("CASTPOOL_STORAGE")
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None


def finished(process: subprocess.Popen[str], timeout_seconds: float = 900) -> tuple[int, str, str]:
    """Wait for a command and return its exit code, standard output and standard error."""
    out, err = process.communicate(timeout=timeout_seconds)
    return process.returncode, out, err


def monthly(n_series: int = 1, length: int = 60, **columns: Any) -> pd.DataFrame:
    """Return regular monthly series with a season."""
    months = np.arange(length)
    dates = pd.date_range("2015-01-01", periods=length, freq="MS")
    frames = [
        pd.DataFrame({"unique_id": f"s{n}", "ds": dates, "y": 10.0 * (n + 1) + np.sin(months * np.pi / 6), **columns})
        for n in range(n_series)
    ]
    return pd.concat(frames, ignore_index=True)
