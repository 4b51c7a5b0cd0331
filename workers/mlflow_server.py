"""MLflow's own server, with its tables in the storage's database and its files in a folder that it alone serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import platformdirs
import typer
from sqlalchemy import text

from sampler_policies.errors import InputError
from storage.store import Store
from workers.listening import listen
from workers.signals import StopRequest

# Beside Optuna's tables: both have one that is called alembic_version.
SCHEMA = "mlflow"
KILL_AFTER_SECONDS = 10.0


def serve(store: Store, host: str, port: int, artifacts: Path | None, allowed_hosts: str | None) -> int:
    """Serve MLflow until SIGINT or SIGTERM; return the exit code.

    Args:
        store: whose database has the tables.
        host: address to listen on.
        port: port to listen on.
        artifacts: folder for files; None is one in castpool's home.
        allowed_hosts: names under which it may be asked for, beside localhost and private addresses.

    Raises:
        InputError: the address is not to be had, or the folder cannot be made.
    """
    listen(host, port).close()  # asked before the server, which takes seconds to start, asks
    folder = artifacts or platformdirs.user_data_path("castpool-mlflow")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("artifacts", folder, f"it cannot be made ({error.strerror}): write another.") from None
    with store.engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    arguments = ["--host", host, "--port", str(port), "--workers", "1", "--artifacts-destination", str(folder)]
    arguments += ["--uvicorn-opts", "--log-level warning"]
    if allowed_hosts is not None:
        arguments += ["--allowed-hosts", allowed_hosts]
    with StopRequest() as stop:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments], env=_environment(store), start_new_session=True
        )
        typer.echo(f"MLflow for {store.address}\n  http://{host}:{port}/  (Ctrl-C ends it)")
        try:
            while server.poll() is None and not stop.wait(0.2):
                pass
        finally:
            _end(server)
    return 0 if stop.is_set else 1  # it has said why


def _end(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _environment(store: Store) -> dict[str, str]:
    """Return the server's environment: the address there and not among its arguments, which everybody can read."""
    url = store.url
    # Nothing of ours needs its queue of jobs, which takes a gigabyte.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **quiet}
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)
    options = f"-csearch_path={SCHEMA}"
    # `URL.set` leaves alone what it is given None for.
    address = url._replace(password=None).set(drivername="postgresql+psycopg").update_query_dict({"options": options})
    environment["MLFLOW_BACKEND_STORE_URI"] = address.render_as_string(hide_password=False)
    return environment
