"""Losses that learn prediction intervals themselves: there, the levels of a spec are an argument of the loss."""

from __future__ import annotations

from typing import Any

from castpool.sampler_policies.errors import InputError

# Losses of neuralforecast with an argument `level`; a test compares them with the installed ones.
WITH_LEVELS = ("MQLoss", "HuberMQLoss", "DistributionLoss", "PMM", "GMM", "NBMM")
# These forecast one quantile, or one at a time: there is no point forecast for an interval to lie around.
WITHOUT_INTERVALS = ("QuantileLoss", "HuberQLoss", "IQLoss", "HuberIQLoss")


def has_levels(loss: str | dict[str, Any]) -> bool:
    """Return whether a loss, as a spec describes it, learns intervals."""
    return _find(_name(loss), WITH_LEVELS) is not None


def learns_quantiles(loss: str | dict[str, Any]) -> bool:
    """Return whether a loss, as a spec describes it, learns quantiles: those of intervals, or single ones."""
    return _find(_name(loss), (*WITH_LEVELS, *WITHOUT_INTERVALS)) is not None


def with_levels(loss: str | dict[str, Any], levels: tuple[int, ...]) -> str | dict[str, Any]:
    """Return the loss with these levels where it learns intervals; any other loss as it is.

    Raises:
        InputError: the loss has levels of its own already, or can have no intervals.
    """
    name = _name(loss)
    if (found := _find(name, WITHOUT_INTERVALS)) is not None:
        remedy = f"{found} forecasts single quantiles: write a loss with levels, e.g. --loss MQLoss, or leave it out."
        raise InputError("level", list(levels), remedy)
    if not has_levels(loss):
        return loss
    arguments = dict(loss) if isinstance(loss, dict) else {"name": loss}
    for key in ("level", "quantiles"):
        if key in arguments:
            remedy = f"the loss has {key} {arguments[key]} already: write one of the two."
            raise InputError("level", list(levels), remedy)
    return {**arguments, "level": list(levels)}


def _name(loss: str | dict[str, Any]) -> str:
    return str(loss.get("name", "")) if isinstance(loss, dict) else loss


def _find(name: str, names: tuple[str, ...]) -> str | None:
    return next((known for known in names if known.lower() == name.lower()), None)
