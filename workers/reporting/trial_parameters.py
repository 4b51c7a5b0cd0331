"""A trial's parameters as the model gets them: ``batch_size: 64`` where Optuna stores ``log2(batch_size): 6``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from castpool.sampler_policies.spaces.parameter import Parameter
from castpool.sampler_policies.spaces.space import Space

# Optuna samples a number that stands for another one: these are drawn as the ordered choices that they are.
CODED = ("power", "rank")


def find_parameter(space: Space | None, label: str) -> Parameter | None:
    """Return the parameter that Optuna stores under this label, entries of a list included; None if it is unknown."""
    for parameter in space.parameters if space is not None else ():
        if label == parameter.label or (parameter.repeat is not None and label.startswith(f"{parameter.label}[")):
            return parameter
    return None


def parameter_name(space: Space | None, label: str) -> str:
    """Return the model's name for a parameter that Optuna stores under this label."""
    parameter = find_parameter(space, label)
    return label if parameter is None else parameter.name + label.removeprefix(parameter.label)


def decode_params(trial: FrozenTrial, space: Space | None) -> dict[str, Any]:
    """Return the trial's parameters under the model's names; one that the space does not know stays as stored."""
    return {parameter_name(space, label): _decode(space, label, stored) for label, stored in trial.params.items()}


def decode_trials(trials: Sequence[FrozenTrial], space: Space | None) -> list[FrozenTrial]:
    """Return copies for a chart: powers and ranks as choices of the model's values, and no user attributes."""
    decoded = []
    for trial in trials:
        shown = copy.copy(trial)
        shown.params, shown.distributions, shown.user_attrs = {}, {}, {}
        for label, stored in trial.params.items():
            name, choices = parameter_name(space, label), _choices(space, label)
            value = _decode(space, label, stored)
            is_coded = choices is not None and value in choices.choices
            shown.params[name] = value if is_coded else stored
            distribution: BaseDistribution = trial.distributions[label]
            shown.distributions[name] = choices if is_coded and choices is not None else distribution
        decoded.append(shown)
    return decoded


def _decode(space: Space | None, label: str, stored: Any) -> Any:
    parameter = find_parameter(space, label)
    if parameter is None:
        return stored
    try:
        return parameter.decode(stored)
    except (LookupError, ValueError):  # enqueued with a value that the space does not have
        return stored


def _choices(space: Space | None, label: str) -> CategoricalDistribution | None:
    parameter = find_parameter(space, label)
    if parameter is None or parameter.kind not in CODED:
        return None
    return CategoricalDistribution(list(dict.fromkeys(parameter.grid())))
