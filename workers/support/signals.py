"""Signals as requests: the first asks for an orderly stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

from castpool.errors import CastpoolError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STOPPED = 130
# Of a worker that a pool is to replace by a fresh process.
EXIT_RECYCLED = 75
# timeout(1) and service managers signal a process and then its group. A user is slower to press Ctrl-C twice.
ECHO_SECONDS = 0.1


class StoppedError(CastpoolError, RuntimeError):
    """The user stopped the work; the same command resumes it."""

    exit_code = EXIT_STOPPED


class StopRequest:
    """Whether a stop of this process was requested. Installs handlers for the block, in the main thread.

    Args:
        is_ours: False in a worker that a pool has started. Service managers signal the whole group, and the pool
            passes on what it got, so there a repeat says nothing new: only the pool's end ends a worker at once.
    """

    def __init__(self, *, is_ours: bool = True) -> None:
        self._is_ours = is_ours
        self._asked = threading.Event()
        self._asked_at = 0.0
        self._before: dict[int, object] = {}

    @property
    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked.is_set()

    def set(self) -> None:
        """Ask for a stop, as a signal does."""
        self._asked.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep until a stop is asked for or the time is over; return whether it was."""
        return self._asked.wait(timeout_seconds)

    def __enter__(self) -> StopRequest:
        # Elsewhere Python allows no handlers; a caller in another thread uses `set` instead.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set() and self._is_ours and time.monotonic() - self._asked_at > ECHO_SECONDS:
            os._exit(EXIT_STOPPED)
        self._asked_at = self._asked_at or time.monotonic()
        self._asked.set()
