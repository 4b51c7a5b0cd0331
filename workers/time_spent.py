"""Where a worker's time goes: a stopwatch that is always on one phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytorch_lightning as pl

from storage.stopwatch import storage_seconds
from workers.profile import PHASES


class TimeSpent:
    """Seconds by phase, of one thread. Phases may nest: the inner one counts.

    Args:
        clock: seconds; the monotonic clock.
        stored: seconds that this thread has waited for the storage.
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
        """Count what happens within as that phase."""
        self._settle()
        depth = len(self._phases)
        self._phases.append(phase)
        try:
            yield
        finally:
            self._settle()
            del self._phases[depth:]

    def switch(self, phase: str) -> None:
        """Go over to another phase in the innermost block."""
        self._settle()
        self._phases[-1] = phase

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by phase until now."""
        self._settle()
        return dict(self._seconds)

    def take(self) -> dict[str, float]:
        """Return the seconds by phase since the last time, to the millisecond, without phases that took none."""
        taken = {phase: round(own, 3) for phase, own in self.seconds.items() if own >= 0.0005}
        self._seconds = dict.fromkeys(PHASES, 0.0)
        return taken

    def _settle(self) -> None:
        now, stored = self._clock(), self._stored()
        waited = stored - self._stored_since
        self._seconds["storage"] += waited
        self._seconds[self._phases[-1]] += now - self._since - waited
        self._since, self._stored_since = now, stored


class Phases(pl.Callback):
    """Tells the stopwatch whether a fit is training or validating."""

    def __init__(self, spent: TimeSpent) -> None:
        self._spent = spent

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to train."""
        self._spent.switch("training")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to validate."""
        self._spent.switch("validation")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on training."""
        self._spent.switch("training")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the fit."""
        self._spent.switch("setup")
