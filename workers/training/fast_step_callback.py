"""The Lightning callback that makes training steps faster. The trained weights stay the same."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytorch_lightning as pl
import torch

from castpool.private_api.neuralforecast import BaseModel
from castpool.workers.training.lazy_windows import copy_only_drawn_windows, take_all

# FastStepCallback describes each; docs/benchmarks.md has what each saves.
STEP_OPTIMIZATIONS = ("drawn-windows", "fused-optimizer", "quiet-steps")
FUSED = {"fused": True}


class FastStepCallback(pl.Callback):
    """Makes training steps faster during a fit. After the fit the model object is as before.

    - ``drawn-windows``: only the windows that are trained on are copied from a batch (`lazy_windows`).
    - ``fused-optimizer``: Adam's update is one kernel. Its rounding differs in the last digits.
    - ``quiet-steps``: the training loss is not logged at each step where no logger or callback reads it; it stays in
      ``train_trajectories``.

    Args:
        disabled: optimizations that are disabled.
    """

    def __init__(self, disabled: Collection[str] = ()) -> None:
        self._optimizations = [name for name in STEP_OPTIMIZATIONS if name not in disabled]
        self._optimizer_kwargs: dict[str, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> FastStepCallback:
        """Return the same callback: it serves one fit after the other, and keeps nothing between them."""
        return self

    @property
    def state_key(self) -> str:
        """The callback's key in checkpoints: its first name, which checkpoints of older studies hold."""
        return "QuickSteps"

    def setup(self, trainer: pl.Trainer, pl_module: BaseModel, stage: str) -> None:
        """Apply the optimizations to the model."""
        if "drawn-windows" in self._optimizations:
            copy_only_drawn_windows(pl_module)
        if "fused-optimizer" in self._optimizations and pl_module.optimizer is None and _is_fusable(trainer, pl_module):
            self._optimizer_kwargs = pl_module.optimizer_kwargs
            pl_module.optimizer, pl_module.optimizer_kwargs = torch.optim.Adam, FUSED
        if "quiet-steps" in self._optimizations and not _is_train_loss_read(trainer):
            pl_module.log = _without_train_loss(pl_module.log)

    def teardown(self, trainer: pl.Trainer, pl_module: BaseModel, stage: str) -> None:
        """Remove them from the model."""
        take_all(pl_module)
        if pl_module.optimizer_kwargs is FUSED:
            pl_module.optimizer, pl_module.optimizer_kwargs = None, self._optimizer_kwargs
        vars(pl_module).pop("log", None)


def _is_fusable(trainer: pl.Trainer, model: BaseModel) -> bool:
    """Return whether torch has a fused kernel: it has none for some devices and for complex weights (FEDformer)."""
    is_real = all(weight.is_floating_point() for weight in model.parameters())
    return is_real and trainer.strategy.root_device.type in ("cpu", "cuda")


def _is_train_loss_read(trainer: pl.Trainer) -> bool:
    """Return whether a logger or a callback of the user may read the training loss of each step."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    ours = ("pytorch_lightning.", "castpool.")
    return bool(trainer.loggers) or any(
        not type(callback).__module__.startswith(ours) or str(getattr(callback, "monitor", "")).startswith("train_")
        for callback in callbacks
    )


def _without_train_loss(log: Callable[..., None]) -> Callable[..., None]:
    def quiet(name: str, *arguments: Any, **named: Any) -> None:
        if name != "train_loss":
            log(name, *arguments, **named)

    return quiet
