"""The Lightning callback that turns a training into a trial: report, prune, stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
import pytorch_lightning as pl
from neuralforecast.common._base_model import BaseModel

from workers.time_spent import TimeSpent


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, and why.

    Attributes:
        outcome: ``complete``, ``pruned``, ``diverged`` or ``failed``; ``stopped``, ``over`` (for want of budget) or
            ``retried``, where another attempt may follow; ``lost``, where this one's word counts no more.
        reason: for people.
        failure: the class of a failure (`workers.failures`).
        starts_anew: whether the next attempt leaves the checkpoint alone.
        pause_seconds: how long to wait before the slot is opened.
    """

    outcome: str
    reason: str | None = None
    failure: str | None = None
    starts_anew: bool = False
    pause_seconds: float = 0.0

    @property
    def is_followed(self) -> bool:
        """Whether the slot is open for another attempt."""
        return self.outcome in ("stopped", "over", "retried")

    @property
    def goes_on_from_checkpoint(self) -> bool:
        """Whether another attempt goes on where this one's last state was kept."""
        return self.is_followed and not self.starts_anew


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
    """At each validation check: report the loss at its training step, ask the pruner, notice a lost lease.

    Args:
        trial: whose training it is.
        val_step_size: observations between two validation windows.
        max_steps: where the training ends.
        is_prunable: whether the pruner may stop it.
        interruption: told the training step, says whether the training is to end; asked after each batch.
        keeps_best: whether the best check counts, or the last one.
        spent: the stopwatch on which reports and the pruner count apart.
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
        spent: TimeSpent | None = None,
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
        self.step = 0
        self._keeps_best = keeps_best
        self._spent = spent or TimeSpent()

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on elsewhere must know of this one's checks."""
        return {"best_value": self.best_value, "best_step": self.best_step, "last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_batch_end(self, trainer: pl.Trainer, *batch: object) -> None:
        """Notice a lost lease between checks too. A request to stop waits for the state to be kept."""
        self.step = trainer.global_step
        if (interrupted := self.interruption(self.step)) is not None and interrupted.outcome == "lost":
            self.ending = interrupted
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: BaseModel) -> None:
        """Report and decide whether to go on."""
        super().on_validation_end(trainer, pl_module)
        step, value = trainer.global_step, float(pl_module.valid_trajectories[-1][1])
        with self._spent.on("pruning"):
            ending = self._judge(step, value)
        if ending is not None:
            self.ending = ending
            trainer.should_stop = True

    def _judge(self, step: int, value: float) -> Ending | None:
        self.last_step = step
        if (interrupted := self.interruption(step)) is not None and interrupted.outcome == "lost":
            return interrupted
        if not math.isfinite(value):
            return Ending("diverged", f"validation loss was {value} at step {step}")
        self.trial.report(value, step)
        if value < self.best_value or not self._keeps_best:
            self.best_value, self.best_step = value, step
        # Asked for a trial too that nobody may stop: pruners that compare at rungs note what others are up against.
        if step < self.max_steps and self.trial.should_prune() and self.is_prunable:
            return Ending("pruned", f"validation loss {value:.6g} at step {step} was not among the best")
        return None
