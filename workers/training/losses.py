"""Losses of neuralforecast by name and arguments, and back."""

from __future__ import annotations

import inspect
import json
from typing import Any

import neuralforecast.losses.pytorch as losses
import torch

from castpool.private_api.neuralforecast import init_arguments_of
from castpool.sampler_policies.errors import InputError, did_you_mean

# Abstract ones, and those that neuralforecast itself refuses to train with (BaseModel.__init__).
NOT_FOR_TRAINING = ("BasePointLoss", "QuantileLayer", "relMSE", "Accuracy", "sCRPS")
NAMES = tuple(name for name in losses.__all__ if name not in NOT_FOR_TRAINING)


def build_loss(field: str, described: str | dict[str, Any]) -> torch.nn.Module:
    """Return the loss of that name, e.g. ``MAE`` or ``{name: MQLoss, level: [80, 90]}``.

    Raises:
        InputError: no loss of that name, or one that does not take these arguments.
    """
    arguments = {} if isinstance(described, str) else dict(described)
    name = described if isinstance(described, str) else arguments.pop("name", None)
    if not isinstance(name, str):
        raise InputError(field, described, "write its name too, e.g. {name: MQLoss, level: [80, 90]}.")
    found = next((known for known in NAMES if known.lower() == name.lower()), None)
    if found is None:
        raise InputError(field, repr(name), did_you_mean(name, NAMES))
    try:
        loss: torch.nn.Module = getattr(losses, found)(**arguments)
    except Exception as error:
        needs = ", ".join(inspect.signature(getattr(losses, found)).parameters)
        problem = str(error).splitlines()[0]
        raise InputError(field, described, f"neuralforecast refuses it ({problem}); it takes {needs}.") from error
    return loss


def describe_loss(loss: torch.nn.Module) -> str | dict[str, Any] | None:
    """Return the description from which `build_loss` makes an equal loss, or None where there is none."""
    name = type(loss).__name__
    if getattr(losses, name, None) is not type(loss):
        return None
    # neuralforecast records what its losses were made with, for saving them with a model (_serialization.py).
    made_with = init_arguments_of(loss)
    if made_with is None:
        return None
    usual = {parameter.name: parameter.default for parameter in inspect.signature(type(loss)).parameters.values()}
    try:
        changed = {key: value for key, value in made_with.items() if key not in usual or value != usual[key]}
        json.dumps(changed)
    except (TypeError, ValueError, RuntimeError):
        return None  # tensors and other objects have no JSON form
    return {"name": name, **changed} if changed else name
