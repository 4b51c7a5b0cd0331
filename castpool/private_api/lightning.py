"""The private parts of Lightning that castpool uses. Importing this module does not import Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from castpool.private_api.door import Door

if TYPE_CHECKING:
    import pytorch_lightning as pl

LIBRARY = "pytorch-lightning"

DOORS = (
    Door(
        "pytorch_lightning.loops.fit_loop:_FitLoop",
        "_data_fetcher",
        "cannot resume a training within an epoch: it draws the batches of the epoch anew",
    ),
    Door(
        "pytorch_lightning.loops.training_epoch_loop:_TrainingEpochLoop",
        "_batches_that_stepped",
        "cannot resume a training: the log of a resumed one starts at step 0",
    ),
    Door(
        "pytorch_lightning.loops.training_epoch_loop:_TrainingEpochLoop",
        "automatic_optimization.optim_progress.optimizer.step.total.completed",
        "cannot resume a training: a resumed one trains all steps again",
    ),
    Door(
        "pytorch_lightning.loops.training_epoch_loop:_TrainingEpochLoop",
        "batch_progress.total.completed",
        "cannot resume a training: a resumed one checks its validation loss at other steps",
    ),
)

# castpool overrides nothing private of Lightning.
HOOKS: tuple[Door, ...] = ()


def data_fetcher_of(trainer: pl.Trainer) -> Iterator[Any]:
    """Return the iterator that draws the batches of the running epoch. A fit must have begun."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return fetcher


def set_steps_done(trainer: pl.Trainer, step: int) -> None:
    """Let a trainer have done so many steps: they decide about validation checks, schedulers and the end."""
    loop = trainer.fit_loop.epoch_loop
    steps = loop.automatic_optimization.optim_progress.optimizer.step.total
    steps.ready = steps.completed = step
    total = loop.batch_progress.total
    for name in ("ready", "started", "processed", "completed"):
        setattr(total, name, step)
    loop._batches_that_stepped = step
