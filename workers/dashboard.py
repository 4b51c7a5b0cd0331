"""optuna-dashboard on the study's own storage, behind a server that is made for more than one visitor."""

from __future__ import annotations

import logging
import threading

import typer
from optuna_dashboard import wsgi
from waitress.server import create_server

from storage.artifacts import open_artifacts
from storage.store import Store
from workers.listening import listen
from workers.signals import StopRequest

THREADS = 8


def serve(store: Store, host: str, port: int) -> None:
    """Serve the dashboard until SIGINT or SIGTERM.

    Raises:
        InputError: the address is not to be had.
    """
    logging.getLogger("waitress").setLevel(logging.ERROR)
    # waitress leaves its socket open where the address is taken.
    listening = listen(host, port)
    server = create_server(
        wsgi(store.trials, artifact_store=open_artifacts(store.engine)), sockets=[listening], threads=THREADS
    )
    port = listening.getsockname()[1]
    serving = threading.Thread(target=server.run, name="dashboard", daemon=True)
    with StopRequest() as stop:
        serving.start()
        typer.echo(f"optuna-dashboard for {store.address}\n  http://{host}:{port}/  (Ctrl-C ends it)")
        while not stop.wait(0.5) and serving.is_alive():
            pass
        server.close()
