"""The Lightning callback that makes the steps of a training cheaper and leaves what it learns as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytorch_lightning as pl
import torch
from neuralforecast.common._base_model import BaseModel

from workers.training_windows import take_all, take_only_what_is_drawn

# What each of them does is in docs/decisions/0009, what it is worth in docs/benchmarks.md.
STEP_LEVERS = ("drawn-windows", "fused-optimizer", "quiet-steps")
FUSED = {"fused": True}


class QuickSteps(pl.Callback):
    """Makes steps cheaper from a fit's beginning to its end; the model object is then as it was.

    - ``drawn-windows``: of a batch's windows only those are copied that are trained on (`workers.training_windows`).
    - ``fused-optimizer``: Adam's update is one kernel. Its rounding differs in the last digits.
    - ``quiet-steps``: the training loss is not logged at each step where nobody looks; it stays in
      ``train_trajectories``.

    Args:
        without: which of these to leave out.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self._levers = [own for own in STEP_LEVERS if own not in without]
        self._optimizer_kwargs: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: BaseModel, stage: str) -> None:
        """Put the cheaper ways in."""
        if "drawn-windows" in self._levers:
            take_only_what_is_drawn(pl_module)
        if "fused-optimizer" in self._levers and pl_module.optimizer is None and _is_fusable(trainer, pl_module):
            self._optimizer_kwargs = pl_module.optimizer_kwargs
            pl_module.optimizer, pl_module.optimizer_kwargs = torch.optim.Adam, FUSED
        if "quiet-steps" in self._levers and not _is_anybody_looking(trainer):
            pl_module.log = _without_train_loss(pl_module.log)

    def teardown(self, trainer: pl.Trainer, pl_module: BaseModel, stage: str) -> None:
        """Take them out."""
        take_all(pl_module)
        if pl_module.optimizer_kwargs is FUSED:
            pl_module.optimizer, pl_module.optimizer_kwargs = None, self._optimizer_kwargs
        vars(pl_module).pop("log", None)


def _is_fusable(trainer: pl.Trainer, model: BaseModel) -> bool:
    """Return whether torch has the kernel for it: not on every device, and not for FEDformer's complex weights."""
    is_real = all(own.is_floating_point() for own in model.parameters())
    return is_real and trainer.strategy.root_device.type in ("cpu", "cuda")


def _is_anybody_looking(trainer: pl.Trainer) -> bool:
    """Return whether a logger or somebody's own callback may want the training loss of each step."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    ours = ("pytorch_lightning.", "workers.")
    return bool(trainer.loggers) or any(
        not type(own).__module__.startswith(ours) or str(getattr(own, "monitor", "")).startswith("train_")
        for own in callbacks
    )


def _without_train_loss(log: Callable[..., None]) -> Callable[..., None]:
    def quiet(name: str, *arguments: Any, **named: Any) -> None:
        if name != "train_loss":
            log(name, *arguments, **named)

    return quiet
