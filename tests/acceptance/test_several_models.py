"""Several models in one command: a study each, one pool for all, one winner; and how they compare."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as CliResult

from tests.acceptance.conftest import finished, monthly
from tests.acceptance.test_tune import load

Start = Callable[..., "subprocess.Popen[str]"]
Cli = Callable[..., CliResult]
MODELS = ["--model", "MLP", "--model", "DLinear", "--horizon", "4", "--max-steps", "20"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    monthly(2).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def test_one_command_tunes_all_and_fits_the_winner(castpool: Start, database: str, data: Path, tmp_path: Path) -> None:
    code, out, err = finished(castpool("tune", "data.csv", *MODELS, "--trials", "4", "--workers", "2", "--json"))
    assert code == 0, err
    studies = {model: load(database, f"data-{model}-h4") for model in ("MLP", "DLinear")}
    assert all(len(study.trials) == 4 for study in studies.values())
    best = json.loads(out)
    assert best["value"] == min(study.best_value for study in studies.values())
    assert (tmp_path / "castpool-out" / best["study"] / "model").is_dir()
    assert "data-MLP-h4: trial 0 complete" in err
    assert "data-DLinear-h4: trial 0 complete" in err
    # One pool serves both, and neither waits for the other: each begins before the other is done.
    first, second = (study.trials for study in studies.values())
    for trials, others in ((first, second), (second, first)):
        assert min(trial.datetime_start for trial in trials) < max(trial.datetime_complete for trial in others)

    code, out, err = finished(castpool("leaderboard", "--json"))
    assert code == 0, err
    (group,) = json.loads(out)
    assert (group["horizon"], group["loss"], group["val_size"]) == (4, "MAE", 4)
    assert [study["study"] for study in group["studies"]] == sorted(
        (f"data-{model}-h4" for model in studies), key=lambda name: load(database, name).best_value
    )
    assert all(study["ended"] == study["slots"] == 4 and study["hours"] > 0 for study in group["studies"])
    code, out, err = finished(castpool("leaderboard"))
    head, titles, first, *_ = out.splitlines()
    assert head.endswith("horizon 4, MAE of the last 4")
    assert titles.split() == ["study", "best", "default", "below", "it", "trials", "hours"]
    assert first.split()[0] == best["study"]


@pytest.mark.slow
def test_workers_elsewhere_serve_all_unfinished_studies(castpool: Start, database: str, data: Path) -> None:
    code, out, err = finished(castpool("create", "data.csv", *MODELS, "--trials", "2", "--json"))
    assert code == 0, err
    assert [study["study"] for study in json.loads(out)] == ["data-MLP-h4", "data-DLinear-h4"]
    code, _, err = finished(castpool("worker"))
    assert code == 0, err
    for model in ("MLP", "DLinear"):
        assert [trial.state.is_finished() for trial in load(database, f"data-{model}-h4").trials] == [True] * 2


def test_auto_says_which_models_and_why(cli: Cli) -> None:
    monthly(2).to_csv("data.csv", index=False)
    shown = cli("explain", "data.csv", "--model", "auto", "--horizon", "4")
    assert shown.exit_code == 0
    assert "model: NHITS\n  rule: NHITS\n  it trains fast and is rarely far from the best\n" in shown.stdout
    assert "not PatchTST: " in shown.stdout
    assert "TSMixer, horizon 4, on 2 series of 60 observations" in shown.stdout
    explained = json.loads(cli("explain", "data.csv", "--model", "auto", "--horizon", "4", "--json").stdout)
    assert [plan["model"] for plan in explained] == ["NHITS", "DLinear", "TSMixer"]


def test_an_empty_storage_has_no_leaderboard_yet(cli: Cli) -> None:
    shown = cli("leaderboard")
    assert (shown.exit_code, shown.stdout) == (0, "the storage has no studies yet; castpool tune creates one\n")


def test_a_wrong_one_among_several_gets_its_sentence_before_anything_runs(cli: Cli) -> None:
    monthly(2).to_csv("data.csv", index=False)
    shown = cli("tune", "data.csv", "--model", "MLP", "--model", "Prophit", "--horizon", "4")
    assert shown.exit_code == 2
    assert shown.stderr.splitlines()[-1].startswith("castpool: model: got 'Prophit'; write one of ")
    assert cli("status").exit_code != 0
