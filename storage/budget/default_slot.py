"""The slot that trains the model's default configuration, and the trials that belong to it."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from castpool import attributes
from castpool.storage.sql.slots import DEFAULT_SLOT


def is_default_slot(slot: int | None) -> bool:
    """Return whether the trials of this slot train the model's defaults; False where the trial has no slot."""
    return slot == DEFAULT_SLOT


def is_default(trial: FrozenTrial) -> bool:
    """Return whether the trial is an attempt at the model's defaults, by the slot that its attributes name."""
    return is_default_slot(trial.user_attrs.get(attributes.ATTEMPT, {}).get("slot"))
