"""A training's whole state between two batches, as bytes: what another process needs to resume with the same numbers.

Lightning resumes a training that stopped within an epoch by drawing the epoch's batches anew. Here their order
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

from castpool.private_api.lightning import data_fetcher_of, set_steps_done

Random = dict[str, Any]


def random_state() -> Random:
    """Return the state of all random generators that a training uses."""
    _, key, position, has_gauss, gauss = np.random.get_state()  # the global one is neuralforecast's
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(key, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_state(state: Random) -> None:
    """Set all random generators to a state."""
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
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    state = {
        "step": trainer.global_step,
        "batches": batches,
        "epoch_began": epoch_began,
        "random": random_state(),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "callbacks": {callback.state_key: callback.state_dict() for callback in callbacks},
        "train_trajectories": [list(point) for point in model.train_trajectories],
        "valid_trajectories": [list(point) for point in model.valid_trajectories],
    }
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the state. Only tensors, numbers, text and containers of them are accepted.

    Raises:
        pickle.UnpicklingError: the bytes hold other objects.
    """
    state: dict[str, Any] = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    return state


def restore(trainer: pl.Trainer, model: Any, state: dict[str, Any]) -> None:
    """Restore a state into a fit that is about to begin. Call it in `on_train_start`: loops and optimisers exist."""
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    for config, saved in zip(trainer.lr_scheduler_configs, state["schedulers"], strict=True):
        config.scheduler.load_state_dict(saved)
    if state["precision"]:
        trainer.precision_plugin.load_state_dict(state["precision"])
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if saved := state["callbacks"].get(callback.state_key):
            callback.load_state_dict(saved)
    model.train_trajectories = [tuple(point) for point in state["train_trajectories"]]
    model.valid_trajectories = [tuple(point) for point in state["valid_trajectories"]]
    set_steps_done(trainer, state["step"])
    fetcher = data_fetcher_of(trainer)
    set_random_state(state["epoch_began"])
    iter(fetcher)
    for _ in range(state["batches"]):
        next(fetcher)
    if state["batches"]:  # otherwise the epoch's first batch is drawn next, with the state of the epoch
        set_random_state(state["random"])
