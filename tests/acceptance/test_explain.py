"""`castpool explain` and `castpool models`: what would be decided and why, before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as CliResult

from castpool.sampler_policies.spaces.model_catalogue import names
from tests.acceptance.conftest import monthly

Cli = Callable[..., CliResult]
FIXED = ["--space", "{windows_batch_size: 32, scaler_type: identity, step_size: 1, moving_avg_window: 25}"]
COMMON = ["data.csv", "--horizon", "12"]
CONTINUOUS = """
data: data.csv
model: DLinear
horizon: 12
trials: 60
space:
  learning_rate: {low: 0.0001, high: 0.1, log: true}
  moving_avg_window: 25
  input_size: {low: 12, high: 36}
  windows_batch_size: 32
  scaler_type: {value: standard}
  step_size: 1
  batch_size: 32
"""
CONDITIONAL = """
data: data.csv
model: MLP
horizon: 12
trials: 60
space:
  _deep: [true, false]
  num_layers: {when: {_deep: true}, low: 3, high: 8}
  hidden_size: {when: {_deep: false}, choices: [512, 1024]}
"""
SPECS: dict[str, tuple[list[str] | str, str, str]] = {
    "tiny grid": (
        [*COMMON, "--model", "DLinear", "--space", "{learning_rate: [0.001, 0.01], input_size: [12, 24]}", *FIXED],
        "every point",
        "sampler: Exhaustive",
    ),
    "all continuous": (
        CONTINUOUS + "workers: 1\n",
        "GP",
        "sampler: IndexedQMC until 10 trials have ended, then CurveGP",
    ),
    "default NHITS": (
        [*COMMON, "--model", "NHITS"],
        "GP",
        "sampler: IndexedQMC until 4 trials have ended, then CurveGP",
    ),
    "five trials": ([*COMMON, "--model", "NHITS", "--trials", "5"], "space filling", "sampler: QMC"),
    "conditional": (CONDITIONAL, "TPE in groups", "sampler: TPE("),
    "two objectives": (
        [*COMMON, "--model", "NHITS", "--objectives", "loss", "--objectives", "seconds", "--trials", "100"],
        "TPE for several objectives",
        "sampler: TPE(",
    ),
    "1,000 trials, 16 workers": (
        [*COMMON, "--model", "NHITS", "--trials", "1000", "--workers", "16"],
        "GP, then TPE",
        "sampler: IndexedQMC until 10 trials have ended, then CurveGP until 300 trials have ended, then TPE(",
    ),
}


@pytest.fixture(autouse=True)
def data(cli: Cli) -> None:
    monthly(1, length=120).to_csv("data.csv", index=False)


def arguments_of(case: str) -> list[str]:
    written = SPECS[case][0]
    if isinstance(written, str):
        Path("spec.yaml").write_text(written)
        return ["spec.yaml"]
    return written


@pytest.mark.parametrize("case", SPECS)
def test_each_spec_gets_its_answer(case: str, cli: Cli) -> None:
    _, rule, what = SPECS[case]
    ran = cli("explain", *arguments_of(case))
    assert ran.exit_code == 0, ran.output
    assert f"\n{what}" in ran.stdout
    assert f"\n  rule: {rule}\n" in ran.stdout
    assert ran.stdout.count("\n  not ") >= 8, "every other rule is rejected with a reason"

    values = json.loads(cli("explain", *arguments_of(case), "--json").stdout)
    sampler, pruner = (
        next(decision for decision in values["decisions"] if decision["subject"] == subject)
        for subject in ("sampler", "pruner")
    )
    assert sampler["rule"] == rule
    assert all(sampler["rejected"].values())
    assert pruner["reason"]
    assert values["facts"]["data"]["shortest"] == 120


def test_the_answers_differ() -> None:
    """Default NHITS and all continuous by the same rule, after starts of different lengths."""
    assert len({(rule, what) for _, rule, what in SPECS.values()}) == len(SPECS) == 7
    assert len({rule for _, rule, _ in SPECS.values()}) == 6


def test_nothing_is_written(cli: Cli, database: str) -> None:
    assert (
        cli("explain", *arguments_of("default NHITS"), "--storage", "postgresql://nobody@localhost:1/none").exit_code
        == 0
    )
    assert sorted(path.name for path in Path().iterdir()) == ["data.csv"]


def test_a_warning_is_part_of_the_answer(cli: Cli) -> None:
    wide = ["--space", "{learning_rate: {low: 0.0001, high: 0.1}}"]
    ran = cli("explain", *COMMON, *wide)
    assert "\nwarning: learning_rate has a linear scale from 0.0001 to 0.1" in ran.stdout


def test_with_a_kept_catalogue_torch_is_never_imported(cli: Cli, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = str(root)
    code = (
        "import sys; from castpool.workers.cli.app import app; app(sys.argv[1:], standalone_mode=False); "
        "print('torch' in sys.modules, 'neuralforecast' in sys.modules, file=sys.stderr)"
    )
    loaded = []
    for _ in range(2):
        command = [sys.executable, "-c", code, "explain", *arguments_of("default NHITS")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        loaded.append(ran.stderr.strip().splitlines()[-1])
    assert loaded == ["True True", "False False"]


def test_models_are_listed_with_what_they_take(cli: Cli) -> None:
    listed = cli("models").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(names())
    values: list[dict[str, Any]] = json.loads(cli("models", "--json").stdout)
    assert [model["name"] for model in values] == list(names())
    by_name = {model["name"]: model for model in values}
    assert by_name["iTransformer"]["multivariate"] and not by_name["NHITS"]["multivariate"]
    assert by_name["NHITS"]["exogenous"] == ["historical", "future", "static"]
    assert by_name["NHITS"]["dropout"] == ["dropout_prob_theta"]
    assert by_name["GRU"]["recurrent"]
    rate = next(parameter for parameter in by_name["NHITS"]["space"] if parameter["name"] == "learning_rate")
    assert rate == {
        "name": "learning_rate",
        "kind": "float",
        "optuna": "learning_rate",
        "low": 1e-4,
        "high": 0.1,
        "log": True,
    }


def test_one_model_is_shown_for_a_horizon(cli: Cli) -> None:
    shown = cli("models", "autonhits", "--horizon", "7").stdout
    assert shown.startswith("NHITS\n")
    assert "  input_size               7, 14, 21, 28, 35\n" in shown
    assert json.loads(cli("models", "nhits", "--json").stdout)["name"] == "NHITS"


def test_an_unknown_model_is_refused_with_the_nearest(cli: Cli) -> None:
    for command in (["models", "NHIT"], ["explain", *COMMON, "--model", "NHIT"]):
        ran = cli(*command)
        assert ran.exit_code == 2
        assert ran.stderr == "castpool: model: got 'NHIT'; did you mean 'NHITS'?\n"
