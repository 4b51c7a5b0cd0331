"""Commands that show studies and results: status, best, leaderboard, forecast, dashboard, mlflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from castpool.workers.cli.common import Host, Json, Storage, Study, print_json, report_errors


def status(
    study: Study = None,
    storage: Storage = None,
    reap: Annotated[bool, typer.Option("--reap", help="First release the slots of workers that are gone.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Show how the workers spent their time.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of a study, its workers and its retries."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.monitoring.status import format_status, read_status, status_values

        with open_store(storage) as store:
            read = read_status(store, study, reaps=reap, profiles=profile)
        if as_json:
            print_json(status_values(read))
        else:
            typer.echo(format_status(read))


def best(study: Study = None, storage: Storage = None, as_json: Json = False) -> None:
    """Show the best configuration so far, and the default loss."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.monitoring.status import format_best, read_best

        with open_store(storage) as store:
            found = read_best(store, study)
        if as_json:
            print_json(found)
        else:
            typer.echo(format_best(found))


def leaderboard(storage: Storage = None, as_json: Json = False) -> None:
    """Compare studies of the same data, horizon and loss."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.monitoring.leaderboard import format_leaderboard, leaderboard_values, read_leaderboard

        with open_store(storage) as store:
            groups = read_leaderboard(store)
        if as_json:
            print_json(leaderboard_values(groups))
        else:
            typer.echo(format_leaderboard(groups))


def forecast(
    result: Annotated[Path, typer.Argument(help="The result folder that `castpool tune` wrote.")],
    data: Annotated[
        str | None, typer.Option(help="File with newer data to forecast from; by default the data of the fit.")
    ] = None,
    futr_data: Annotated[
        str | None, typer.Option(help="File with the future exogenous columns for the horizon.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; by default standard output.")] = None,
) -> None:
    """Forecast with the saved model of a result."""
    with report_errors():
        from castpool.workers.results.saved_model import forecast_again
        from castpool.workers.support.logs import quiet

        quiet()
        frame = forecast_again(result, data, futr_data)
        frame.to_csv(out if out is not None else sys.stdout, index=False)


def dashboard(
    storage: Storage = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve optuna-dashboard for the storage."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.monitoring.dashboard import serve_dashboard

        with open_store(storage, application_name="castpool dashboard") as store:
            serve_dashboard(store, host, port)


def mlflow(
    storage: Storage = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder for MLflow's files; by default one in your home.")
    ] = None,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Host names that clients may use, separated by commas.")
    ] = None,
) -> None:
    """Serve MLflow, with its tables in the storage's database."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.mlflow_tracking.server import serve_mlflow

        with open_store(storage, application_name="castpool mlflow") as store:
            code = serve_mlflow(store, host, port, artifacts, allowed_hosts)
        raise typer.Exit(code)
