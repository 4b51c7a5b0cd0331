"""A study seen from outside: status, optuna-dashboard, plain Optuna, a further forecast."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest

from tests.acceptance.conftest import QUICK, finished, monthly

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def tuned(castpool: Start, tmp_path: Path) -> Path:
    """The folder of a small finished study."""
    monthly(2).to_csv(tmp_path / "data.csv", index=False)
    code, out, err = finished(castpool("tune", "data.csv", *QUICK, "--trials", "3", "--workers", "1", "--out", "out"))
    assert code == 0, err
    assert "best loss" in out
    return tmp_path / "out"


def test_a_finished_study_from_outside_and_another_forecast(castpool: Start, database: str, tuned: Path) -> None:
    study = optuna.load_study(study_name="data-MLP-h4", storage=database)
    assert [trial.state.is_finished() for trial in study.trials] == [True] * 3
    subjects = [decision["subject"] for decision in study.user_attrs["castpool"]["decisions"]]
    assert subjects[:3] == ["holdout", "validation", "space"]

    code, out, _ = finished(castpool("status"))
    assert code == 0
    assert "3/3 trials" in out
    code, out, _ = finished(castpool("best"))
    assert f"{study.best_value:.6g}" in out
    assert "sampler: QMC" in out

    dashboard = castpool("dashboard", "--port", "0")
    assert dashboard.stdout is not None
    printed = dashboard.stdout.readline() + dashboard.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+/", printed)
    assert url is not None, printed
    with urllib.request.urlopen(f"{url.group()}api/studies", timeout=30) as answer:
        summaries = json.load(answer)["study_summaries"]
    assert [summary["study_name"] for summary in summaries] == ["data-MLP-h4"]
    with urllib.request.urlopen(f"{url.group()}api/studies/{summaries[0]['study_id']}", timeout=30) as answer:
        trials = json.load(answer)["trials"]
    assert [trial["number"] for trial in trials] == [0, 1, 2]
    assert all(trial["intermediate_values"] for trial in trials)
    dashboard.send_signal(signal.SIGINT)
    assert finished(dashboard, 30)[0] == 0

    # The same study is forecast again, which saves the time of another.
    code, out, err = finished(castpool("forecast", str(tuned)))
    assert code == 0, err
    again = pd.read_csv(io.StringIO(out))
    fitted = pd.read_csv(tuned / "forecast.csv")
    assert list(again) == list(fitted)
    for name in again.columns[2:]:
        assert again[name].tolist() == pytest.approx(fitted[name].tolist(), rel=1e-4)

    monthly(2, length=63).to_csv(tuned.parent / "newer.csv", index=False)
    code, out, err = finished(castpool("forecast", str(tuned), "--data", "newer.csv", "--out", "next.csv"))
    assert (code, out) == (0, ""), err
    later = pd.read_csv(tuned.parent / "next.csv", parse_dates=["ds"])
    assert later.groupby("unique_id").size().tolist() == [4, 4]
    assert later["ds"].min() == pd.Timestamp("2020-04-01")
