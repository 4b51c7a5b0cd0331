"""The Lightning callback that turns a training into a trial: report, prune, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
import pytorch_lightning as pl
from neuralforecast.common._base_model import BaseModel


@dataclass(frozen=True)
class Ending:
    """How a training ended: ``complete``, ``pruned``, ``diverged``, ``stopped`` or ``lost``, and why."""

    outcome: str
    reason: str | None = None


class ValidationWindows(pl.Callback):
    """Lays validation windows ``val_step_size`` apart for every trial, whatever ``step_size`` it trains with.

    neuralforecast reads one attribute for both (`BaseModel._create_windows`).
    """

    def __init__(self, val_step_size: int) -> None:
        self.val_step_size = val_step_size
        self._training_step_size = 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Lay the validation windows as every other trial's."""
        self._training_step_size = pl_module.step_size
        pl_module.step_size = self.val_step_size

    def on_validation_end(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Go on training as before."""
        pl_module.step_size = self._training_step_size


class ValidationHook(ValidationWindows):
    """At each validation check: report the loss at its training step, ask the pruner, notice a request to stop."""

    def __init__(
        self,
        trial: optuna.Trial,
        *,
        val_step_size: int,
        max_steps: int,
        is_prunable: bool,
        interruption: Callable[[], Ending | None],
    ) -> None:
        super().__init__(val_step_size)
        self.trial = trial
        self.max_steps = max_steps
        self.is_prunable = is_prunable
        self.interruption = interruption
        self.ending = Ending("complete")
        self.best_value = math.inf
        self.best_step = 0
        self.last_step = 0
        self.storage_seconds = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *batch: object) -> None:
        """Notice a request to stop, or a lost lease, between checks too."""
        if (interrupted := self.interruption()) is not None:
            self.ending = interrupted
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Report and decide whether to go on."""
        super().on_validation_end(trainer, pl_module)
        step, value = trainer.global_step, float(pl_module.valid_trajectories[-1][1])
        started = time.monotonic()
        ending = self._judge(step, value)
        self.storage_seconds += time.monotonic() - started
        if ending is not None:
            self.ending = ending
            trainer.should_stop = True

    def _judge(self, step: int, value: float) -> Ending | None:
        self.last_step = step
        if (interrupted := self.interruption()) is not None:
            return interrupted
        if not math.isfinite(value):
            return Ending("diverged", f"validation loss was {value} at step {step}")
        self.trial.report(value, step)
        if value < self.best_value:
            self.best_value, self.best_step = value, step
        if step < self.max_steps and self.is_prunable and self.trial.should_prune():
            return Ending("pruned", f"validation loss {value:.6g} at step {step} was not among the best")
        return None
