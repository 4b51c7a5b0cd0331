"""Commands that work on studies: worker, pool, result, sync."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli_shared import (
    Json,
    MetricsHost,
    MetricsPort,
    Quiet,
    Storage,
    Studies,
    Tracking,
    print_json,
    print_result,
    sentences,
)


def worker(
    studies: Studies = None,
    storage: Storage = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Work on studies until they are done, in one process.

    It may run on any machine that reaches the storage.
    """
    with sentences(None):
        from workers.entry import main

        raise typer.Exit(main(storage, studies or (), metrics=(metrics_host, metrics_port)))


def pool(
    studies: Studies = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one a core, or as GPUs allow.")] = 0,
    storage: Storage = None,
    tracking_uri: Tracking = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    quiet: Quiet = False,
) -> None:
    """Run N workers of studies, each with its share of the cores."""
    with sentences(None):
        from storage.store import open_store
        from storage.studies import studies_to_serve
        from workers import tracking_client
        from workers.exporter import exporting
        from workers.pool import local_workers, threads_each, warm_up
        from workers.progress import progress_for
        from workers.signals import StopRequest
        from workers.tracking_thread import Tracking
        from workers.watching import run_pool

        n_workers, uri = local_workers(workers, sys.maxsize), tracking_client.tracking_uri(tracking_uri)
        warm_up(threads_each(n_workers))
        with StopRequest() as stop, open_store(storage, application_name="castpool pool") as store:
            shown, served = progress_for("quiet" if quiet else "auto"), studies_to_serve(store, studies or ())
            with (
                exporting(store, served, metrics_host, metrics_port, shown.say),
                Tracking(store, served, uri, shown.say),
            ):
                run_pool(store, served, n_workers, stop, shown)


def result(
    studies: Studies = None,
    storage: Storage = None,
    wait: Annotated[bool, typer.Option("--wait", help="First wait until the study is done.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; by default castpool-out/<study>.")] = None,
    tracking_uri: Tracking = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit and write the winner of each study, so far or at its end."""
    with sentences(None):
        from storage.store import open_store
        from workers import tracking_client
        from workers.exporter import exporting
        from workers.finishing import await_end, finish, studies_to_finish
        from workers.progress import progress_for
        from workers.signals import StopRequest
        from workers.tracking_thread import Tracking

        uri = tracking_client.tracking_uri(tracking_uri)
        with StopRequest() as stop, open_store(storage, application_name="castpool result") as store:
            shown, found = progress_for("quiet" if quiet else "auto"), studies_to_finish(store, studies or ())
            with (
                exporting(store, found, metrics_host, metrics_port, shown.say),
                Tracking(store, found, uri, shown.say),
            ):
                for stored in found:
                    if wait:
                        await_end(store, stored, stop, shown)
                    folder = out if out is not None and len(found) == 1 else (out or Path("castpool-out")) / stored.name
                    made = finish(store, stored, folder, stop, shown.say)
                    print_result(made, as_json)


def sync(
    studies: Annotated[list[str] | None, typer.Argument(help="Their names; by default all there are.")] = None,
    storage: Storage = None,
    tracking_uri: Tracking = None,
    as_json: Json = False,
) -> None:
    """Add to MLflow what it lacks of studies."""
    with sentences():
        from storage.store import open_store
        from workers.syncing import sync_studies

        with open_store(storage, application_name="castpool sync") as store:
            synced = sync_studies(store, studies or (), tracking_uri)
        if as_json:
            print_json(synced)
        else:
            for own in synced:
                typer.echo("{study}: {runs} of {attempts} attempts in MLflow, {written} written".format(**own))
