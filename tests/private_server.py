"""A private PostgreSQL server for one test, of any size, which the test may stop, kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from castpool.storage.server.embedded import EmbeddedServer, find_server
from castpool.storage.server.supervisor import SERVER_LOCK, SUPERVISOR_LOCK, try_lock


class PrivateServer:
    """A server in a folder that the embedded server has prepared, run without a supervisor.

    Args:
        folder: where its data is; its parents let the server's account pass.
        max_connections: how many connections it has.
    """

    def __init__(self, folder: Path, max_connections: int = 100) -> None:
        with EmbeddedServer(folder) as embedded:
            self.url = embedded.url
        for name in (SERVER_LOCK, SUPERVISOR_LOCK):  # until its supervisor has stopped it and ended
            while (descriptor := try_lock(folder / name)) is None:
                time.sleep(0.05)
            os.close(descriptor)
        self.log = folder / "private.log"
        self._server = find_server(folder)
        self._command = [*self._server.command(), "-c", f"max_connections={max_connections}"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        (self._server.pgdata / "postmaster.pid").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, **self._server.process_options, start_new_session=True
            )
        while not self._server.is_ready():
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all connections, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None


@contextmanager
def private_server(max_connections: int = 100) -> Iterator[PrivateServer]:
    """Run a private server in a temporary folder, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="castpool-test-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        server = PrivateServer(Path(folder), max_connections)
        server.start()
        try:
            yield server
        finally:
            server.stop()
