"""The model's own defaults, as a point of the search space and as a measure of what is dear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampler_policies.catalogue import ModelEntry
from sampler_policies.facts import DataFacts
from sampler_policies.space import Space

# How the names of the arguments end that make a training step dearer the larger they are.
COSTLY = (
    "input_size",
    "batch_size",
    "hidden_size",
    "layers",
    "block",
    "blocks",
    "stacks",
    "d_model",
    "d_ff",
    "ff_dim",
)


def default_parameters(space: Space, model: ModelEntry, data: DataFacts) -> dict[str, Any]:
    """Return the stored parameters nearest to the model's own defaults.

    Most models have no default input size, and neuralforecast's documentation uses twice the horizon; recurrent
    ones default to a negative size, which means three horizons.
    """
    usual = {"input_size": 2 * data.horizon, **model.defaults}
    if usual["input_size"] < 1:
        usual["input_size"] = 3 * data.horizon
    stored: dict[str, Any] = {}
    for parameter in space.parameters:
        if (value := usual.get(parameter.name)) is None or parameter.repeat is not None:
            continue
        try:
            stored[parameter.label] = parameter.encode(value)
        except ValueError:
            continue  # the user's own choices leave the default out: this one is sampled
    return stored


def usual_sizes(space: Space, default: Mapping[str, Any]) -> dict[str, float]:
    """Return the default's stored numbers of the ordered parameters that make a training step dear."""
    return {
        own.label: default[own.label]
        for own in space.parameters
        if own.label in default and own.is_ordered and own.name.endswith(COSTLY)
    }
