"""A training's whole state between two batches, as bytes: what another process needs to go on with the same numbers.

Lightning's own way back into a fit makes a training that stopped within an epoch draw its batches anew. Here the order
is kept: the state holds the random state with which the epoch began and how many of its batches were trained. All of it
is tensors, numbers and text, so that it is read without unpickling objects.
"""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

Random = dict[str, Any]


def random_state() -> Random:
    """Return the state of all generators that a training draws from."""
    _, key, position, has_gauss, gauss = np.random.get_state()  # the global one is neuralforecast's
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(key, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_state(state: Random) -> None:
    """Bring all generators into a state."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    key, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])


def pack(trainer: pl.Trainer, model: Any, epoch_began: Random, batches: int) -> bytes:
    """Return the state before the next batch.

    Args:
        trainer: of the running fit.
        model: the model in it.
        epoch_began: the random state before the epoch's first batch was drawn.
        batches: how many of the epoch's batches were trained.
    """
    state = {
        "step": trainer.global_step,
        "batches": batches,
        "epoch_began": epoch_began,
        "random": random_state(),
        "model": model.state_dict(),
        "optimizers": [own.state_dict() for own in trainer.optimizers],
        "schedulers": [own.scheduler.state_dict() for own in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "callbacks": {own.state_key: own.state_dict() for own in trainer.callbacks},  # type: ignore[attr-defined]
        "train_trajectories": [list(own) for own in model.train_trajectories],
        "valid_trajectories": [list(own) for own in model.valid_trajectories],
    }
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the state; nothing but tensors, numbers, text and containers of them is accepted.

    Raises:
        pickle.UnpicklingError: there is something else in it.
    """
    state: dict[str, Any] = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    return state


def restore(trainer: pl.Trainer, model: Any, state: dict[str, Any]) -> None:
    """Bring a fit that is about to begin into a state. For `on_train_start`, where loops and optimisers are ready."""
    model.load_state_dict(state["model"])
    for optimizer, own in zip(trainer.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(own)
    for config, own in zip(trainer.lr_scheduler_configs, state["schedulers"], strict=True):
        config.scheduler.load_state_dict(own)
    if state["precision"]:
        trainer.precision_plugin.load_state_dict(state["precision"])
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if own := state["callbacks"].get(callback.state_key):
            callback.load_state_dict(own)
    model.train_trajectories = [tuple(own) for own in state["train_trajectories"]]
    model.valid_trajectories = [tuple(own) for own in state["valid_trajectories"]]
    _count(trainer, state["step"])
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    set_random_state(state["epoch_began"])
    iter(fetcher)
    for _ in range(state["batches"]):
        next(fetcher)
    if state["batches"]:  # else the epoch's first batch is drawn next, as it was then
        set_random_state(state["random"])


def _count(trainer: pl.Trainer, step: int) -> None:
    """Let the trainer have done so many steps: they decide about validation checks, schedulers and the end."""
    loop = trainer.fit_loop.epoch_loop
    steps = loop.automatic_optimization.optim_progress.optimizer.step.total
    steps.ready = steps.completed = step
    total = loop.batch_progress.total
    for name in ("ready", "started", "processed", "completed"):
        setattr(total, name, step)
    loop._batches_that_stepped = step
