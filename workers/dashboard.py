"""optuna-dashboard on the study's own storage."""

from __future__ import annotations

import socket
from wsgiref.simple_server import WSGIRequestHandler, make_server

import typer
from optuna_dashboard import wsgi

from sampler_policies.errors import InputError
from storage.store import Store
from workers.signals import StopRequest


class _Silent(WSGIRequestHandler):
    """Answers without a line for every request."""

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def serve(store: Store, host: str, port: int) -> None:
    """Serve the dashboard until SIGINT or SIGTERM.

    Raises:
        InputError: the address is not to be had.
    """
    try:
        server = make_server(host, port, wsgi(store.trials), handler_class=_Silent)
    except (OSError, socket.gaierror) as error:
        why = f"it cannot be listened on ({error.strerror}): write another."
        raise InputError("port", f"{host}:{port}", why) from None
    with server, StopRequest() as stop:
        server.timeout = 0.5
        typer.echo(f"optuna-dashboard for {store.address}\n  http://{host}:{server.server_port}/  (Ctrl-C ends it)")
        while not stop.is_set:
            server.handle_request()
