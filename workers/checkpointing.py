"""The Lightning callback that lets another process go on where this one ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from neuralforecast.common._base_model import BaseModel

from workers.time_spent import TimeSpent
from workers.training_state import Random, pack, random_state, restore


class TrainingLeft(Exception):
    """The training was left between two batches, its state kept."""


class Checkpointing(pl.Callback):
    """Keeps the training's state between two batches: now and then, and when it is to stop.

    Args:
        save: takes a state and the training step that it was made at.
        start: the state to go on from.
        every_seconds: the shortest time between two states.
        must_stop: whether the training is to be left, asked before each batch.
        spent: the stopwatch on which this counts apart.
    """

    def __init__(
        self,
        save: Callable[[bytes, int], None] | None,
        start: dict[str, Any] | None,
        every_seconds: float,
        must_stop: Callable[[], bool],
        spent: TimeSpent | None = None,
    ) -> None:
        self._save = save
        self._start = start
        self._every_seconds = every_seconds
        self._must_stop = must_stop
        self._saved_at = time.monotonic()
        self._epoch_began: Random | None = None
        self._skipped = 0
        # Lightning puts a handler of its own before ours, and would leave without asking at the end of a batch.
        self._handler = signal.getsignal(signal.SIGTERM)
        self._spent = spent or TimeSpent()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Remember what the first epoch's batches are drawn with."""
        self._epoch_began = random_state()

    def on_train_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Go on from the state that was given."""
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        if self._start is not None:
            state, self._start = self._start, None
            restore(trainer, pl_module, state)
            self._epoch_began, self._skipped = state["epoch_began"], state["batches"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Remember what the epoch's batches are drawn with; where an epoch is one batch, only if it is needed."""
        if trainer.current_epoch == 0:
            return  # of the first epoch, batches are drawn earlier
        self._skipped = 0
        is_long = trainer.num_training_batches > 1
        self._epoch_began = random_state() if is_long or self._is_due else None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: BaseModel, *batch: object) -> None:
        """Keep the state where it is time, and leave where that was asked for."""
        if self._epoch_began is None or not self._is_due:
            return
        must_stop = self._must_stop()
        if self._save is not None and trainer.global_step > 0:
            batches = self._skipped + trainer.fit_loop.epoch_loop.batch_progress.current.completed
            with self._spent.on("checkpoints"):
                self._save(pack(trainer, pl_module, self._epoch_began, batches), trainer.global_step)
        self._saved_at = time.monotonic()
        if must_stop:
            raise TrainingLeft

    @property
    def _is_due(self) -> bool:
        return self._must_stop() or (
            self._save is not None and time.monotonic() - self._saved_at >= self._every_seconds
        )
