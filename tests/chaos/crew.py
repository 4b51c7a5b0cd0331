"""The processes of a round: workers that are replaced when they die, as in a pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.chaos.training import work

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["castpool.workers.pool.preload", "tests.chaos.training"])
# 3: the server was unreachable when the worker started. SIGTERM, 130: it was stopped, before or after its handler
# was installed.
EXPECTED = {0, -signal.SIGKILL, -signal.SIGTERM, 3, 130}


class Crew:
    """A number of workers on one study.

    Args:
        url: of the server, as the workers use it.
        study: its name.
        size: how many there are at any time.
        steps: a file to which each simulated training step adds a byte.
        is_real: whether they train models.
    """

    def __init__(self, url: str, study: str, size: int, steps: Path, *, is_real: bool) -> None:
        self._work = (url, study, str(steps))
        self._is_real = is_real
        self._size = size
        self._left = 0
        self.processes: list[ForkServerProcess] = []
        self.unexpected: list[Any] = []

    def __enter__(self) -> Crew:
        for _ in range(self._size):
            self.add()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def add(self, skew_hours: float = 0.0) -> ForkServerProcess:
        """Start another worker."""
        process = CONTEXT.Process(target=work, args=(*self._work, skew_hours), kwargs={"is_real": self._is_real})
        process.start()
        self.processes.append(process)
        return process

    def tend(self) -> bool:
        """Replace the workers that died; return whether any worker is left."""
        for process in [worker for worker in self.processes if worker.exitcode is not None]:
            self.processes.remove(process)
            if process.exitcode not in EXPECTED:
                self.unexpected.append(process.exitcode)
            self._left += process.exitcode == 0
        while self._left == 0 and len(self.processes) < self._size:
            self.add()
        return bool(self.processes)

    def send(self, process: ForkServerProcess, number: signal.Signals) -> None:
        """Send a signal to a worker that may be gone."""
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, number)
