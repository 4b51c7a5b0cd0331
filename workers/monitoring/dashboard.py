"""optuna-dashboard on the studies' storage, behind a server that answers several visitors at once."""

from __future__ import annotations

import logging
import threading

import typer
from optuna_dashboard import wsgi
from waitress.server import create_server

from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import Store
from castpool.workers.support.signals import StopRequest
from castpool.workers.support.sockets import listen

THREADS = 8


def serve_dashboard(store: Store, host: str, port: int) -> None:
    """Serve the dashboard until SIGINT or SIGTERM.

    Raises:
        InputError: the address is in use, or does not belong to this machine.
    """
    logging.getLogger("waitress").setLevel(logging.ERROR)
    # waitress leaves its socket open if the address is in use.
    listening = listen(host, port)
    server = create_server(
        wsgi(store.trials, artifact_store=open_artifacts(store.engine)), sockets=[listening], threads=THREADS
    )
    port = listening.getsockname()[1]
    serving = threading.Thread(target=server.run, name="dashboard", daemon=True)
    with StopRequest() as stop:
        serving.start()
        typer.echo(f"optuna-dashboard for {store.address}\n  http://{host}:{port}/  (stop it with Ctrl-C)")
        while not stop.wait(0.5) and serving.is_alive():
            pass
        server.close()
