"""Commands that look at what there is: status, best, leaderboard, forecast, dashboard, mlflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli_shared import Host, Json, Storage, Study, print_json, sentences


def status(
    study: Study = None,
    storage: Storage = None,
    reap: Annotated[bool, typer.Option("--reap", help="First open the slots of workers that are gone.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the workers' time went.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a study is, who works on it, and retries."""
    with sentences():
        from storage.store import open_store
        from workers.status import as_text, as_values, read_status

        with open_store(storage) as store:
            read = read_status(store, study, reaps=reap, profiles=profile)
        if as_json:
            print_json(as_values(read))
        else:
            typer.echo(as_text(read))


def best(study: Study = None, storage: Storage = None, as_json: Json = False) -> None:
    """Show the best configuration so far, and the default loss."""
    with sentences():
        from storage.store import open_store
        from workers.status import best_of, best_text

        with open_store(storage) as store:
            found = best_of(store, study)
        if as_json:
            print_json(found)
        else:
            typer.echo(best_text(found))


def leaderboard(storage: Storage = None, as_json: Json = False) -> None:
    """Compare studies of the same data, horizon and loss."""
    with sentences():
        from storage.store import open_store
        from workers.leaderboard import as_text, as_values, read_leaderboard

        with open_store(storage) as store:
            groups = read_leaderboard(store)
        if as_json:
            print_json(as_values(groups))
        else:
            typer.echo(as_text(groups))


def forecast(
    result: Annotated[Path, typer.Argument(help="The folder that `castpool tune` wrote.")],
    data: Annotated[str | None, typer.Option(help="Newer data to forecast from; else what it was fitted on.")] = None,
    futr_data: Annotated[str | None, typer.Option(help="The future columns for the horizon.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; else standard output.")] = None,
) -> None:
    """Forecast again from a saved model."""
    with sentences():
        from workers.forecast import forecast_again
        from workers.logs import quiet

        quiet()
        frame = forecast_again(result, data, futr_data)
        frame.to_csv(out if out is not None else sys.stdout, index=False)


def dashboard(
    storage: Storage = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve optuna-dashboard on the same storage, live."""
    with sentences():
        from storage.store import open_store
        from workers.dashboard import serve

        with open_store(storage, application_name="castpool dashboard") as store:
            serve(store, host, port)


def mlflow(
    storage: Storage = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    artifacts: Annotated[Path | None, typer.Option(help="Folder for its files; by default one in your home.")] = None,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Names under which browsers and clients may ask for it, with commas.")
    ] = None,
) -> None:
    """Serve MLflow, with its tables in the same storage."""
    with sentences():
        from storage.store import open_store
        from workers.mlflow_server import serve

        with open_store(storage, application_name="castpool mlflow") as store:
            code = serve(store, host, port, artifacts, allowed_hosts)
        raise typer.Exit(code)
