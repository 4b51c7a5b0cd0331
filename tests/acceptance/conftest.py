"""The command line as a user has it: in this process for messages, in other processes for work."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result as CliResult
from typer.testing import CliRunner

from castpool.workers.cli.app import app

# A small model for a few steps: the whole way, in seconds.
QUICK = ["--model", "MLP", "--horizon", "4", "--max-steps", "20", "--space", "{hidden_size: [8, 16], num_layers: 2}"]


@pytest.fixture
def cli(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CliResult]:
    """Run a command in this process, on a database for this test alone, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CASTPOOL_STORAGE", database)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CASTPOOL_LOG_FORMAT", "text")

    def run(*arguments: str) -> CliResult:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


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
