"""What the commands share: arguments and options, JSON output, and how errors are reported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from castpool.workers.results.result import Result

Data = Annotated[str | None, typer.Argument(help="CSV or Parquet file with unique_id, ds, y; or a spec in YAML.")]
Demo = Annotated[bool, typer.Option("--demo", help="Use the AirPassengers series that neuralforecast ships.")]
ImportFrom = Annotated[
    Path | None,
    typer.Option(
        "--import-from",
        help="Folder of your module, for a class given as module:Class.  [default: the current directory]",
    ),
]
WorkerImportFrom = Annotated[
    Path | None,
    typer.Option("--import-from", help="Folder of your module, for a study with a class given as module:Class."),
]
Storage = Annotated[
    str | None,
    typer.Option(envvar="CASTPOOL_STORAGE", help="postgresql://user@host/db; by default the embedded server."),
]
Study = Annotated[str | None, typer.Argument(help="Name of the study; by default the one that is not finished.")]
TrackingURI = Annotated[
    str | None,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow server, as http://localhost:5000."),
]
MetricsPort = Annotated[int | None, typer.Option(min=0, max=65535, help="Port that serves Prometheus metrics.")]
MetricsHost = Annotated[str, typer.Option(help="Address of that port; any but localhost is open to all.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any but localhost is open to all.")]
Studies = Annotated[
    list[str] | None, typer.Argument(help="Names of the studies; by default all that are not finished.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@contextmanager
def report_errors(log_format: Literal["json", "text"] | None = "text") -> Iterator[None]:
    """Report an error that the user can correct as one sentence and an exit code; let a bug show its traceback.

    Args:
        log_format: of log lines, unless the environment sets it; None is text on a terminal and JSON elsewhere.
    """
    from castpool.workers.support.logs import FORMAT_VARIABLE, set_up

    variable_before = os.environ.get(FORMAT_VARIABLE)
    try:
        set_up(log_format)
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        code = getattr(error, "exit_code", None)
        message = str(error)
        if code is None:
            from castpool.storage.connection.engine import is_transient

            if not is_transient(error):
                raise
            code, message = 3, "storage: the connection to the server was lost; run the same command again to resume."
        from castpool.workers.support.logs import get_logger, logs_json

        if logs_json():
            get_logger("cli").error(message)
        else:
            typer.echo(f"castpool: {message}", err=True)
        raise typer.Exit(code) from None
    finally:
        # The variable is for the processes that this command started, not for the next command of this process.
        os.environ.pop(FORMAT_VARIABLE, None)
        if variable_before is not None:
            os.environ[FORMAT_VARIABLE] = variable_before


def print_result(result: Result, as_json: bool) -> None:
    """Print the description of a result and the paths of its files."""
    from castpool.workers.evaluation.verdict_text import format_sentence, format_table
    from castpool.workers.results.output_files import OUTPUT_FILES
    from castpool.workers.results.result import describe_search

    if as_json:
        print_json({**result.best, "out": str(result.out)})
        return
    typer.echo(describe_search(result.best))
    if result.verdict is not None:
        typer.echo(f"\n{format_table(result.verdict)}\n\n{format_sentence(result.verdict)}\n")
    else:
        from castpool.workers.reporting.verdict_section import explain_absence

        if (absence := explain_absence(result.best)) is not None:
            typer.echo(absence)
    for name in OUTPUT_FILES:
        typer.echo(f"  {result.out / name}")


def print_json(values: Any) -> None:
    """Print values as JSON."""
    typer.echo(json.dumps(values, indent=2, default=str))
