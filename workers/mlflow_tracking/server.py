"""MLflow's server, with its tables in the storage's database and its files in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import platformdirs
import typer
from sqlalchemy import text

from castpool.sampler_policies.errors import InputError
from castpool.storage.store import Store
from castpool.workers.support.signals import StopRequest
from castpool.workers.support.sockets import listen

# A schema separate from Optuna's: both have a table called alembic_version.
SCHEMA = "mlflow"
KILL_AFTER_SECONDS = 10.0


def serve_mlflow(store: Store, host: str, port: int, artifacts: Path | None, allowed_hosts: str | None) -> int:
    """Serve MLflow until SIGINT or SIGTERM; return the exit code.

    Args:
        store: its database contains the tables.
        host: address to listen on.
        port: port to listen on.
        artifacts: folder for files; None is castpool's data folder.
        allowed_hosts: host names that requests may name, beside localhost and private addresses.

    Raises:
        InputError: the address cannot be opened, or the folder cannot be created.
    """
    listen(host, port).close()  # checked first, because the server takes seconds to start
    folder = (artifacts or platformdirs.user_data_path("castpool-mlflow")).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("artifacts", folder, f"it cannot be created ({error.strerror}): write another.") from None
    with store.engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    arguments = ["--host", host, "--port", str(port), "--workers", "1", "--artifacts-destination", str(folder)]
    arguments += ["--uvicorn-opts", "--log-level warning"]
    if allowed_hosts is not None:
        arguments += ["--allowed-hosts", allowed_hosts]
    with StopRequest() as stop:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            env=_environment(store),
            cwd=folder,  # `-m`, and the web server below it, import from the current directory first
            start_new_session=True,
        )
        typer.echo(f"MLflow for {store.address}\n  http://{host}:{port}/  (stop it with Ctrl-C)")
        try:
            while server.poll() is None and not stop.wait(0.2):
                pass
        finally:
            _stop(server)
    return 0 if stop.is_set else 1  # MLflow has printed the reason


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _environment(store: Store) -> dict[str, str]:
    """Return the server's environment, with the storage's address: arguments would be visible to all users."""
    url = store.url
    # castpool does not use MLflow's job queue, which takes a gigabyte of memory.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **quiet}
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)
    options = f"-csearch_path={SCHEMA}"
    # `URL.set` ignores arguments that are None.
    address = url._replace(password=None).set(drivername="postgresql+psycopg").update_query_dict({"options": options})
    environment["MLFLOW_BACKEND_STORE_URI"] = address.render_as_string(hide_password=False)
    return environment
