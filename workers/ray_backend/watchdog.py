"""The watchdog of a Ray run: it ends a process in which Ray does not report."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time

import psutil

from castpool.workers.ray_backend.searcher import StudySearch
from castpool.workers.support.signals import EXIT_STOPPED

log = logging.getLogger("castpool.ray")

EXIT_HUNG = 75
CHECK_SECONDS = 1.0


class Watchdog:
    """Ends this process when Ray has not reported for too long; the pool starts another one, which resumes.

    Ray can wait forever for resources that it holds itself (Nixtla/neuralforecast#451, #760).
    """

    def __init__(self, search: StudySearch, hang_seconds: float) -> None:
        self._search = search
        self._hang_seconds = hang_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._search.reported_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            silent = time.monotonic() - self._search.reported_at
            if silent > self._hang_seconds:
                log.warning("no report from Ray for %.0f s; restarting it", silent)
                # Ray's processes end when they notice the end of this one, which a hanging process may not.
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                os._exit(EXIT_STOPPED if self._search.stop.is_set else EXIT_HUNG)
