"""Keeping a lease alive while a trial trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType

from optuna.exceptions import UpdateFinishedTrialError

from castpool.storage.budget import slots
from castpool.storage.budget.slots import Allowance
from castpool.storage.errors import LeaseLostError

log = logging.getLogger("castpool.worker")

# A lease survives that many beats but one that fail.
BEATS_PER_LEASE = 5
SHORTEST_PAUSE_SECONDS = 0.05


def beat_seconds() -> float:
    """Return the time between two beats, from the length of a lease."""
    return slots.LEASE_SECONDS / BEATS_PER_LEASE


class Heartbeat:
    """Extends the lease of one attempt until the block ends. ``is_lost`` says that the lease is lost.

    Args:
        beat: takes the training step, extends the lease, and returns what the budgets leave to the attempt.

    Attributes:
        step: how far the training has come; the training keeps it up to date.
        over: why the attempt must stop although the lease is held: a budget of the study is spent.
    """

    def __init__(self, beat: Callable[[int], Allowance]) -> None:
        self._beat = beat
        self.step = 0
        self.over: str | None = None
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._error: BaseException | None = None
        # Log lines of the thread belong to the same trial.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another worker has the lease, or may have it because a beat failed."""
        return self._lost.is_set()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                self.over, seconds_left = self._beat(self.step)
                # The next beat comes when a budget of time ends, so that the training does not exceed it.
                pause = beat_seconds()
                if not self.over and seconds_left is not None:
                    pause = min(pause, seconds_left)
                if self._ended.wait(max(pause, SHORTEST_PAUSE_SECONDS)):
                    return
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            log.warning("%s", error)
            self._lost.set()
        except BaseException as error:  # raised in the worker's main thread, by __exit__
            self._error = error
            self._lost.set()
