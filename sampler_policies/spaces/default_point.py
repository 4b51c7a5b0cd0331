"""The model's defaults as a point of the search space, and its sizes that make training costly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.sampler_policies.spaces.space import Space

# Name endings of the arguments whose larger values make a training step more costly.
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
    """Return the stored parameters nearest to the model's defaults.

    Most models have no default input size, and neuralforecast's documentation uses twice the horizon; recurrent
    ones default to a negative size, which means three horizons.
    """
    defaults = {"input_size": 2 * data.horizon, **model.defaults}
    if defaults["input_size"] < 1:
        defaults["input_size"] = 3 * data.horizon
    stored: dict[str, Any] = {}
    for parameter in space.parameters:
        if (value := defaults.get(parameter.name)) is None or parameter.repeat is not None:
            continue
        try:
            stored[parameter.label] = parameter.encode(value)
        except ValueError:
            continue  # the user's choices do not contain the default: the sampler samples this parameter
    return stored


def usual_sizes(space: Space, default: Mapping[str, Any]) -> dict[str, float]:
    """Return the default's stored numbers of the ordered parameters that make a training step costly."""
    return {
        parameter.label: default[parameter.label]
        for parameter in space.parameters
        if parameter.label in default and parameter.is_ordered and parameter.name.endswith(COSTLY)
    }
