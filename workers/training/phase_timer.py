"""Where a worker's time goes: a timer that is always in one phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from castpool.storage.connection.wait_timer import storage_seconds
from castpool.workers.support.phases import PHASES


class PhaseTimer:
    """Seconds by phase, of one thread. Phases may nest: time counts for the inner one.

    Args:
        clock: returns seconds of a monotonic clock.
        stored: returns the seconds that this thread has waited for the storage so far.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, stored: Callable[[], float] = storage_seconds
    ) -> None:
        self._clock, self._stored = clock, stored
        self._phases = ["elsewhere"]
        self._since, self._stored_since = clock(), stored()
        self._seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def on(self, phase: str) -> Iterator[None]:
        """Count the time of the block for a phase."""
        self._settle()
        depth = len(self._phases)
        self._phases.append(phase)
        try:
            yield
        finally:
            self._settle()
            del self._phases[depth:]

    def switch(self, phase: str) -> None:
        """Count for another phase from now on, in the innermost block."""
        self._settle()
        self._phases[-1] = phase

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by phase until now."""
        self._settle()
        return dict(self._seconds)

    def take(self) -> dict[str, float]:
        """Return the seconds by phase since the last call, to the millisecond, without phases of none."""
        taken = {phase: round(seconds, 3) for phase, seconds in self.seconds.items() if seconds >= 0.0005}
        self._seconds = dict.fromkeys(PHASES, 0.0)
        return taken

    def _settle(self) -> None:
        now, stored = self._clock(), self._stored()
        waited = stored - self._stored_since
        self._seconds["storage"] += waited
        self._seconds[self._phases[-1]] += now - self._since - waited
        self._since, self._stored_since = now, stored


class PhaseTimerCallback(pl.Callback):
    """Switches the timer between the training and the validation of a fit."""

    def __init__(self, spent: PhaseTimer) -> None:
        self._spent = spent

    def __deepcopy__(self, memo: dict[int, Any]) -> PhaseTimerCallback:
        """Return the same callback: the time of a copy of a model counts too."""
        return self

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count training."""
        self._spent.switch("training")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count validation."""
        self._spent.switch("validation")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count training again."""
        self._spent.switch("training")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the end of the fit as setup."""
        self._spent.switch("setup")
