"""The Lightning callback that reports each validation loss to the study, asks the pruner and stops the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytorch_lightning as pl

from castpool.private_api.neuralforecast import BaseModel
from castpool.storage.budget.outcome import Outcome
from castpool.workers.training.ending import Ending
from castpool.workers.training.phase_timer import PhaseTimer


class ValidationWindows(pl.Callback):
    """Places validation windows ``val_step_size`` apart in every trial, whatever ``step_size`` it trains with.

    neuralforecast reads one attribute for both (`BaseModel._create_windows`).
    """

    def __init__(self, val_step_size: int) -> None:
        self.val_step_size = val_step_size
        self._training_step_size = 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Place the validation windows as in every other trial."""
        self._training_step_size = pl_module.step_size
        pl_module.step_size = self.val_step_size

    def on_validation_end(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Restore the step size of the training windows."""
        pl_module.step_size = self._training_step_size


class PruningCallback(ValidationWindows):
    """At each validation check, reports the validation loss at its training step and asks the pruner.

    Stops the training where the pruner says so, the loss is not finite, or the lease is lost.

    Args:
        trial: the trial that is trained.
        val_step_size: observations between two validation windows.
        max_steps: the training step at which the training ends; the pruner is not asked there.
        is_prunable: whether the pruner may stop it (`TrialRunner.is_prunable`).
        interruption: takes the training step and returns how the training must end, or None; called after each batch.
        keeps_best: whether the trial's value is its best validation loss, or its last one.
        spent: the timer that counts reports and the pruner as a phase.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        *,
        val_step_size: int,
        max_steps: int,
        is_prunable: bool,
        interruption: Callable[[int], Ending | None],
        keeps_best: bool = True,
        spent: PhaseTimer | None = None,
    ) -> None:
        super().__init__(val_step_size)
        self.trial = trial
        self.max_steps = max_steps
        self.is_prunable = is_prunable
        self.interruption = interruption
        self.ending = Ending(Outcome.COMPLETE)
        self.best_value = math.inf
        self.best_step = 0
        self.last_step = 0
        self.step = 0
        self._keeps_best = keeps_best
        self._spent = spent or PhaseTimer()

    @property
    def state_key(self) -> str:
        """The callback's key in checkpoints: its first name, which checkpoints of older studies hold."""
        return "ValidationHook"

    def state_dict(self) -> dict[str, Any]:
        """Return what another process needs to resume: best loss, its step, and the step of the last check."""
        return {"best_value": self.best_value, "best_step": self.best_step, "last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_batch_end(self, trainer: pl.Trainer, *batch: object) -> None:
        """Stop for a lost lease between two checks too. `CheckpointCallback` handles other requests to stop."""
        self.step = trainer.global_step
        if (interrupted := self.interruption(self.step)) is not None and interrupted.outcome == Outcome.LOST:
            self.ending = interrupted
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Report the validation loss, and stop the training where the trial has ended."""
        super().on_validation_end(trainer, pl_module)
        step, value = trainer.global_step, float(pl_module.valid_trajectories[-1][1])
        with self._spent.on("pruning"):
            ending = self._report_and_prune(step, value)
        if ending is not None:
            self.ending = ending
            trainer.should_stop = True

    def _report_and_prune(self, step: int, value: float) -> Ending | None:
        """Report a validation loss to the study; return how the trial ends here, or None where it continues."""
        self.last_step = step
        if (interrupted := self.interruption(step)) is not None and interrupted.outcome == Outcome.LOST:
            return interrupted
        if not math.isfinite(value):
            return Ending(Outcome.DIVERGED, f"validation loss was {value} at step {step}")
        self.trial.report(value, step)
        if value < self.best_value or not self._keeps_best:
            self.best_value, self.best_step = value, step
        # Pruners that compare at rungs record the trial's loss when asked, so ask also where it is not prunable.
        if step < self.max_steps and self.trial.should_prune() and self.is_prunable:
            return Ending(Outcome.PRUNED, f"validation loss {value:.6g} at step {step} was not among the best")
        return None
