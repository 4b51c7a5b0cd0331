"""`castpool backtest` and `Result.backtest` as a user runs them: by a pool, interrupted and resumed, and refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result as CliResult

from castpool.storage.budget import evaluations, slots
from castpool.storage.budget.phase import Phase
from castpool.storage.store import open_store
from castpool.storage.study.studies import open_study
from tests.acceptance.conftest import QUICK, finished, monthly

Start = Callable[..., "subprocess.Popen[str]"]
VERDICT = (Path(__file__).resolve().parents[2] / "docs" / "verdict.md").read_text()
SEARCH = ["--trials", "2", "--workers", "2", "--holdout", "4", "--val-size", "4", "--finalists", "0"]


@pytest.fixture
def tuned(castpool: Start, tmp_path: Path) -> Path:
    """A folder with data, and a finished study of it."""
    monthly(2).to_csv(tmp_path / "air.csv", index=False)
    code, _, err = finished(castpool("tune", "air.csv", *QUICK, *SEARCH, "--name", "air"))
    assert code == 0, err
    return tmp_path


def counts(database: str) -> tuple[Phase | None, int]:
    """Return the phase of the study, and how many windows of backtests were forecast."""
    with open_store(database) as store:
        study_id = open_study(store, "air").study_id
        done = [each for each in evaluations.read_evaluations(store.engine, study_id) if each.outcome is not None]
        n_done = sum(each.task["phase"] == "backtest" for each in done)
        return slots.count(store.engine, study_id).phase, n_done


def test_a_pool_forecasts_the_windows_and_a_stop_is_resumed(castpool: Start, database: str, tuned: Path) -> None:
    (command,) = re.findall(r"^    castpool (backtest .+)$", VERDICT, re.MULTILINE)
    arguments = command.replace("sales-NHITS-h12", "air").split()
    stopped = castpool(*arguments, "--workers", "2")
    deadline = time.monotonic() + 300
    while counts(database)[1] == 0 and stopped.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    code, _, err = finished(stopped)
    phase, n_done = counts(database)
    assert phase == Phase.DONE, "the study is as it was"
    if code == 130:
        assert "stopped with windows left to forecast; run the same command again to resume." in err
        assert n_done > 0

    code, out, err = finished(castpool(*arguments, "--workers", "2"))
    assert code == 0, err
    assert "backtest: 3 windows, 4 observations apart, each configuration trained 3 times" in err
    assert not re.search(r"^trial \d", err, re.MULTILINE), "the trials of the search are not shown again"
    assert "MAE by cutoff" in out
    phase, n_all = counts(database)
    assert (phase, n_all % 3) == (Phase.DONE, 0)
    frame = pd.read_csv(tuned / "castpool-out" / "air" / "backtest.csv")
    assert len(frame) == 2 * 3 * 4
    assert (tuned / "castpool-out" / "air" / "backtest.png").is_file()

    code, out, err = finished(castpool("backtest", "--windows", "2", "--json", "--out", "again"))
    assert code == 0, err
    assert "all of them done before" in err
    assert counts(database) == (Phase.DONE, n_all)
    values = json.loads(out)
    assert [values["study"], len(values["by_window"]), values["metric"], values["out"]] == ["air", 2, "mae", "again"]
    again = pd.read_csv(tuned / "again" / "backtest.csv")
    newest = frame[frame["cutoff"].isin(again["cutoff"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(again[list(again)], newest[list(again)])


@pytest.mark.parametrize("option", ["--windows", "--refit-every", "--step-size"])
def test_numbers_below_one_are_refused(cli: Callable[..., CliResult], option: str) -> None:
    refused = cli("backtest", "air", option, "0")
    assert refused.exit_code == 2
    field = option.removeprefix("--").replace("-", "_")
    assert refused.stderr == f"castpool: {field}: got 0; write a number of at least 1.\n"
