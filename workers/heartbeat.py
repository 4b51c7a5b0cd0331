"""Keeping a lease alive while a trial trains."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from types import TracebackType

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from storage import slots
from storage.errors import LeaseLostError
from storage.slots import Claim
from storage.trials import beat

log = logging.getLogger("castpool.worker")

BEAT_SECONDS = slots.LEASE_SECONDS / 5
SHORTEST_PAUSE = 0.05


class Heartbeat:
    """Beats for one attempt until the block ends. ``is_lost`` says that the slot is somebody else's now.

    Attributes:
        step: how far the training has come; whoever trains keeps it up to date.
        over: why the attempt is to stop though the slot is held: another budget of the study is spent.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, claim: Claim) -> None:
        self._study = study
        self._trial = trial
        self._claim = claim
        self.step = 0
        self.over: str | None = None
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._error: BaseException | None = None
        # Its lines belong to the same trial.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether the lease has passed on, or nobody can tell because beating failed."""
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
                self.over, seconds_left = beat(self._study, self._trial, self._claim, self.step)
                # The last one before a budget of time is spent comes when it is, so that nobody works longer.
                pause = BEAT_SECONDS if self.over or seconds_left is None else min(BEAT_SECONDS, seconds_left)
                if self._ended.wait(max(pause, SHORTEST_PAUSE)):
                    return
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            log.warning("%s", error)
            self._lost.set()
        except BaseException as error:  # carried to the worker's own thread, which must not go on unheard
            self._error = error
            self._lost.set()
