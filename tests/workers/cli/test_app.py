"""The command line's own manners: quick help, an option for each field of the spec, tab completion."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from castpool.workers.spec.study_spec import StudySpec

HEAVY = ("torch", "neuralforecast", "optuna", "pandas", "sqlalchemy", "pydantic", "rich", "mlflow", "structlog")
COMMANDS = (
    *("tune", "create", "explain", "models", "worker", "pool", "result", "backtest", "status", "best"),
    *("leaderboard", "forecast", "dashboard", "mlflow", "sync"),
)


def castpool(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "castpool", *arguments]
    ran = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_help_lists_the_commands_in_whole_sentences() -> None:
    shown = castpool("--help").partition("Commands:")[2].splitlines()[1:]
    assert [line.split()[0] for line in shown] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in shown)


@pytest.mark.parametrize(
    "module",
    [
        *("tune", "pool.supervisor", "results.finish", "planning.create_study", "planning.model_selection"),
        *("monitoring.prometheus", "mlflow_tracking.background"),
    ],
)
def test_what_tune_and_pool_run_loads_no_neuralforecast_of_its_own(module: str) -> None:
    code = f"import sys, castpool.workers.{module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "neuralforecast"} & set(ran.stdout.split())


@pytest.mark.parametrize("module", ["planning.build_check", "results.finish", "cli.spec_options"])
def test_what_is_called_as_an_errand_is_quick_to_import(module: str) -> None:
    code = f"import sys, castpool.workers.{module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "neuralforecast", "sklearn", "optuna_dashboard"} & set(ran.stdout.split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from castpool.workers.cli.app import app; "
        "app(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ran.stdout.splitlines()[-1].split()
    assert "castpool.workers.cli.app" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("command", ["tune", "create"])
def test_every_field_of_the_spec_is_an_option(command: str) -> None:
    shown = castpool(command, "--help")
    for name in set(StudySpec.model_fields) - {"data"}:
        assert f"  --{name.replace('_', '-')} <" in shown


def test_options_of_the_spec_complete_on_tab() -> None:
    completed = castpool(_CASTPOOL_COMPLETE="complete_bash", COMP_WORDS="castpool tune --val-s", COMP_CWORD="2")
    assert completed.split() == ["--val-size", "--val-step-size"]
