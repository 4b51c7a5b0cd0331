"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import typer

from castpool.workers.cli.spec_options import Commands
from castpool.workers.cli.tune_commands import create, explain, models, tune
from castpool.workers.cli.view_commands import best, dashboard, forecast, leaderboard, mlflow, status
from castpool.workers.cli.worker_commands import backtest, pool, result, sync, worker

app = typer.Typer(
    cls=Commands,
    help="Tune NeuralForecast's Auto models with a pool of workers that share one Optuna study in PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# As `castpool --help` lists them.
for command in (
    tune, create, explain, models, worker, pool, result, backtest, status, best, leaderboard,
    forecast, dashboard, mlflow, sync,
):  # fmt: skip
    app.command()(command)
