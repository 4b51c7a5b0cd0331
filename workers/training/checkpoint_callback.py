"""The Lightning callback that keeps checkpoints, so that another process resumes where this one ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from castpool.private_api.neuralforecast import BaseModel
from castpool.workers.training.phase_timer import PhaseTimer
from castpool.workers.training.training_state import Random, pack, random_state, restore


class TrainingInterruptedError(Exception):
    """The training stopped between two batches, and its state was saved."""


class CheckpointCallback(pl.Callback):
    """Saves the training's state between two batches: periodically, and when the training must stop.

    Args:
        save: takes a state and the training step that it was made at.
        start: the state to resume from; None for a new training.
        every_seconds: the shortest time between two checkpoints.
        must_stop: returns whether the training must stop; called before each batch.
        spent: the timer that counts the time of checkpoints.
    """

    def __init__(
        self,
        save: Callable[[bytes, int], None] | None,
        start: dict[str, Any] | None,
        every_seconds: float,
        must_stop: Callable[[], bool],
        spent: PhaseTimer | None = None,
    ) -> None:
        self._save = save
        self._start = start
        self._every_seconds = every_seconds
        self._must_stop = must_stop
        self._saved_at = time.monotonic()
        self._epoch_began: Random | None = None
        self._skipped = 0
        # Lightning replaces our handler of SIGTERM by one that ends the fit without a checkpoint.
        self._handler = signal.getsignal(signal.SIGTERM)
        self._spent = spent or PhaseTimer()

    @property
    def state_key(self) -> str:
        """The callback's key in checkpoints: its first name, which checkpoints of older studies hold."""
        return "Checkpointing"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Remember the random state that the first epoch's batches are drawn with."""
        self._epoch_began = random_state()

    def on_train_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Restore the state that was given."""
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        if self._start is not None:
            state, self._start = self._start, None
            restore(trainer, pl_module, state)
            self._epoch_began, self._skipped = state["epoch_began"], state["batches"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Remember the random state of the epoch's batches; of an epoch of one batch, only if a checkpoint is due."""
        if trainer.current_epoch == 0:
            return  # the first epoch's batches are drawn before this
        self._skipped = 0
        is_long = trainer.num_training_batches > 1
        self._epoch_began = random_state() if is_long or self._is_due else None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: BaseModel, *batch: object) -> None:
        """Save the state where a checkpoint is due; raise TrainingInterruptedError where the training must stop."""
        if self._epoch_began is None or not self._is_due:
            return
        must_stop = self._must_stop()
        if self._save is not None and trainer.global_step > 0:
            batches = self._skipped + trainer.fit_loop.epoch_loop.batch_progress.current.completed
            with self._spent.on("checkpoints"):
                self._save(pack(trainer, pl_module, self._epoch_began, batches), trainer.global_step)
        self._saved_at = time.monotonic()
        if must_stop:
            raise TrainingInterruptedError

    @property
    def _is_due(self) -> bool:
        return self._must_stop() or (
            self._save is not None and time.monotonic() - self._saved_at >= self._every_seconds
        )
