"""What the commands share: arguments, JSON, and errors as sentences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

Data = Annotated[str | None, typer.Argument(help="CSV or Parquet with unique_id, ds, y; or a spec in YAML.")]
Demo = Annotated[bool, typer.Option("--demo", help="Use the AirPassengers series that neuralforecast ships.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="CASTPOOL_STORAGE", help="postgresql://user@host/db; by default the embedded server."),
]
Study = Annotated[str | None, typer.Argument(help="The study's name; by default the one that is not finished.")]
Tracking = Annotated[
    str | None,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow, as http://localhost:5000."),
]
MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port on which to serve measures for Prometheus.")
]
MetricsHost = Annotated[str, typer.Option(help="Address for it; any but localhost is open to all.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any but localhost is open to all.")]
Studies = Annotated[list[str] | None, typer.Argument(help="Their names; by default all that are not finished.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@contextmanager
def sentences(log_format: Literal["json", "text"] | None = "text") -> Iterator[None]:
    """Turn what a user can mend into one sentence on standard error and an exit code; let bugs be seen.

    Lines of the log are as the environment says, else as given here, without that words on a terminal and JSON
    elsewhere.
    """
    from workers.logs import FORMAT_VARIABLE, set_up

    asked = os.environ.get(FORMAT_VARIABLE)
    try:
        set_up(log_format)
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        code = getattr(error, "exit_code", None)
        message = str(error)
        if code is None:
            from storage.engine import is_passing

            if not is_passing(error):
                raise
            code, message = 3, "storage: the server went away and did not come back; the same command goes on."
        from workers.logs import get_logger, logs_json

        if logs_json():
            get_logger("cli").error(message)
        else:
            typer.echo(f"castpool: {message}", err=True)
        raise typer.Exit(code) from None
    finally:
        # Meant for the processes that this command has started; another one in this process says for itself.
        os.environ.pop(FORMAT_VARIABLE, None)
        if asked is not None:
            os.environ[FORMAT_VARIABLE] = asked


def print_result(made: Any, as_json: bool) -> None:
    """Print what a result says, and its files."""
    from workers.result import FILES, in_a_sentence

    if as_json:
        print_json({**made.best, "out": str(made.out)})
        return
    typer.echo(in_a_sentence(made.best))
    for name in FILES:
        typer.echo(f"  {made.out / name}")


def print_json(values: Any) -> None:
    """Print values as JSON."""
    typer.echo(json.dumps(values, indent=2, default=str))
