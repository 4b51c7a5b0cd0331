"""Commands that work on studies: worker, pool, result, backtest, sync."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from castpool.workers.cli.common import (
    Json,
    MetricsHost,
    MetricsPort,
    Quiet,
    Storage,
    Studies,
    TrackingURI,
    WorkerImportFrom,
    print_json,
    print_result,
    report_errors,
)


def worker(
    studies: Studies = None,
    storage: Storage = None,
    import_from: WorkerImportFrom = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Run trials of studies until they are done, in one process.

    It may run on any machine that reaches the storage.
    """
    with report_errors(None):
        from castpool.workers.pool.worker_process import main
        from castpool.workers.support.import_path import importing_from

        with importing_from(import_from):
            code = main(storage, studies or (), metrics=(metrics_host, metrics_port))
        raise typer.Exit(code)


def pool(
    studies: Studies = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes; 0 is one per core, or as many as the GPUs hold.")
    ] = 0,
    storage: Storage = None,
    import_from: WorkerImportFrom = None,
    tracking_uri: TrackingURI = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    quiet: Quiet = False,
) -> None:
    """Run several workers, each with its share of the cores."""
    with report_errors(None):
        from castpool.storage.store import open_store
        from castpool.storage.study.studies import studies_to_serve
        from castpool.workers.mlflow_tracking import client
        from castpool.workers.mlflow_tracking.background import BackgroundTracker
        from castpool.workers.monitoring.progress import progress_for
        from castpool.workers.monitoring.prometheus import serve_metrics
        from castpool.workers.pool.process_pool import warm_up
        from castpool.workers.pool.supervisor import run_pool
        from castpool.workers.support.import_path import importing_from
        from castpool.workers.support.machine import local_workers, threads_each
        from castpool.workers.support.signals import StopRequest

        n_workers, uri = local_workers(workers, sys.maxsize), client.tracking_uri(tracking_uri)
        warm_up(threads_each(n_workers))
        with (
            importing_from(import_from),
            StopRequest() as stop,
            open_store(storage, application_name="castpool pool") as store,
        ):
            shown, served = progress_for("quiet" if quiet else "auto"), studies_to_serve(store, studies or ())
            with (
                serve_metrics(store, served, metrics_host, metrics_port, shown.say),
                BackgroundTracker(store, served, uri, shown.say),
            ):
                run_pool(store, served, n_workers, stop, shown)


def result(
    studies: Studies = None,
    storage: Storage = None,
    wait: Annotated[bool, typer.Option("--wait", help="First wait until the study has ended.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the result; by default castpool-out/<study>.")] = None,
    tracking_uri: TrackingURI = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the best configuration of each study and write it."""
    with report_errors(None):
        from castpool.storage.store import open_store
        from castpool.workers.mlflow_tracking import client
        from castpool.workers.mlflow_tracking.background import BackgroundTracker
        from castpool.workers.monitoring.progress import progress_for
        from castpool.workers.monitoring.prometheus import serve_metrics
        from castpool.workers.results.finish import await_end, finish, studies_to_finish
        from castpool.workers.support.signals import StopRequest

        uri = client.tracking_uri(tracking_uri)
        with StopRequest() as stop, open_store(storage, application_name="castpool result") as store:
            shown, found = progress_for("quiet" if quiet else "auto"), studies_to_finish(store, studies or ())
            with (
                serve_metrics(store, found, metrics_host, metrics_port, shown.say),
                BackgroundTracker(store, found, uri, shown.say),
            ):
                for stored in found:
                    if wait:
                        await_end(store, stored, stop, shown)
                    folder = out if out is not None and len(found) == 1 else (out or Path("castpool-out")) / stored.name
                    finished = finish(store, [stored], folder, stop, shown.say)
                    print_result(finished, as_json)


def backtest(
    study: Annotated[
        str | None, typer.Argument(help="Name of a finished study, or a result folder; by default the latest study.")
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(help="Windows of one horizon; by default as many as leave half of the shortest series, up to 5."),
    ] = None,
    refit_every: Annotated[
        int | None, typer.Option(help="Windows that are forecast from one training; by default 1.")
    ] = None,
    step_size: Annotated[
        int | None, typer.Option(help="Observations between two cutoffs; by default the horizon.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes; 0 is one per core, or as many as the GPUs hold.")
    ] = 0,
    storage: Storage = None,
    import_from: WorkerImportFrom = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; by default that of the result, or castpool-out/<study>.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Forecast past windows with a result and its rivals.

    These are the default configuration and the baselines. A local pool of workers trains the models on what is before
    each window.
    """
    with report_errors():
        from castpool.workers.backtest import run
        from castpool.workers.evaluation.backtest_windows import BacktestRequest
        from castpool.workers.support.import_path import importing_from

        request = BacktestRequest(windows, refit_every, step_size)
        with importing_from(import_from):
            progress = "quiet" if quiet else "auto"
            planned, done = run(study, request, workers=workers, storage=storage, progress=progress)
        from castpool.workers.evaluation.backtest_text import backtest_values, format_backtest
        from castpool.workers.results.backtest import write_backtest

        is_folder = study is not None and Path(study).is_dir()
        folder = out or (Path(str(study)) if is_folder else Path("castpool-out") / planned.study)
        files = write_backtest(done, planned.study, folder)
        if as_json:
            print_json({"study": planned.study, **backtest_values(done), "out": str(folder)})
            return
        typer.echo(f"{format_backtest(done)}\n")
        for path in files:
            typer.echo(f"  {path}")


def sync(
    studies: Annotated[list[str] | None, typer.Argument(help="Names of the studies; by default all.")] = None,
    storage: Storage = None,
    tracking_uri: TrackingURI = None,
    as_json: Json = False,
) -> None:
    """Write to MLflow the attempts that it lacks."""
    with report_errors():
        from castpool.storage.store import open_store
        from castpool.workers.mlflow_tracking.sync import sync_studies

        with open_store(storage, application_name="castpool sync") as store:
            synced = sync_studies(store, studies or (), tracking_uri)
        if as_json:
            print_json(synced)
        else:
            for counts in synced:
                typer.echo("{study}: {runs} of {attempts} attempts in MLflow, {written} written".format(**counts))
