"""Search spaces from Ray's domains, of which NeuralForecast's default spaces consist.

The class names of Ray's objects distinguish them, so that reading a space does not import Ray.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space

RAY_DOMAINS = ("Categorical", "Integer", "Float", "Function")


def from_ray(config: Mapping[str, Any]) -> Space:
    """Translate a configuration of Ray domains and constants.

    Ray's integer ranges exclude their upper end, Optuna's include it; a quantised range keeps its step.

    Raises:
        InputError: a domain that no Optuna distribution expresses (``sample_from``, a normal distribution), or
            an object that is not JSON.
    """
    return from_described(described(config))


def described(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a configuration of Ray domains and constants as JSON values: choices, a range, or a value each.

    Raises:
        InputError: as `from_ray`.
    """
    return {name: _described(name, domain) for name, domain in config.items()}


def from_described(config: Mapping[str, Mapping[str, Any]]) -> Space:
    """Return the space of a configuration in the form of `described`.

    Raises:
        InputError: a list without choices, or a range without a multiple of its step.
    """
    space = Space(())
    for name, description in config.items():
        if "value" in description:
            space = space.fixing(name, description["value"])
        elif "choices" in description:
            space = searching_or_fixing(space, choices(name, description["choices"]))
        else:
            space = searching_or_fixing(space, _from_range(name, description))
    return space


def to_ray(parameter: Parameter) -> Any:
    """Return the Ray domain of the model's values; None for parameters that branch.

    `from_ray` makes the same parameter from the domain that this returns.
    """
    from ray import tune

    if parameter.branches:
        return None
    d = parameter.distribution
    if isinstance(d, FloatDistribution):
        low, high = d.low, d.high
        if parameter.quantum is not None:
            quantised = tune.qloguniform if d.log else tune.quniform
            return quantised(low, high, parameter.quantum)
        if d.step is not None:
            # Ray's grids begin at a multiple of their step; this one may not.
            return tune.choice(parameter_grid(d))
        return tune.loguniform(low, high) if d.log else tune.uniform(low, high)
    if parameter.kind == "int" and isinstance(d, IntDistribution):
        if parameter.quantum is not None:
            return tune.qlograndint(d.low, d.high, int(parameter.quantum))
        if d.step == 1:
            return tune.lograndint(d.low, d.high + 1) if d.log else tune.randint(d.low, d.high + 1)
    return tune.choice(parameter.grid())


def parameter_grid(d: FloatDistribution) -> list[float]:
    """Return the values of an even grid of floats."""
    assert d.step is not None
    return [round(d.low + index * d.step, 12) for index in range(round((d.high - d.low) / d.step) + 1)]


def searching_or_fixing(space: Space, parameter: Parameter, note: str | None = None) -> Space:
    """Return the space with this parameter searched, or fixed where it has a single value."""
    if parameter.distribution.single():
        return space.fixing(parameter.name, parameter.extremes()[0], note)
    return space.searching(parameter, note)


def as_json(name: str, value: Any) -> Any:
    """Return the value as the storage returns it: JSON's types, numpy's numbers and arrays as Python's.

    Raises:
        InputError: a value that JSON cannot express.
    """
    try:
        return json.loads(json.dumps(value, default=lambda array: array.tolist(), allow_nan=False))
    except (TypeError, ValueError, AttributeError):
        remedy = (
            "write finite numbers, names, flags or lists of them; only a configuration function takes other objects."
        )
        raise InputError(f"space.{name}", repr(value), remedy) from None


def _described(name: str, domain: Any) -> dict[str, Any]:
    if isinstance(domain, Mapping) and set(domain) == {"grid_search"}:
        return {"choices": as_json(name, domain["grid_search"])}
    if type(domain).__name__ not in RAY_DOMAINS:
        return {"value": as_json(name, domain)}
    if type(domain).__name__ == "Categorical":
        return {"choices": as_json(name, domain.categories)}
    sampler, quantum = domain.get_sampler(), None
    if type(sampler).__name__ == "Quantized":
        quantum, sampler = sampler.q, sampler.sampler
    kind = type(sampler).__name__
    if type(domain).__name__ == "Function" or kind not in ("_Uniform", "_LogUniform"):
        remedy = "write choices, a range (low, high) or one value: Optuna has no such domain."
        raise InputError(f"space.{name}", repr(domain), remedy)
    return {
        "low": domain.lower,
        "high": domain.upper,
        "log": kind == "_LogUniform",
        "quantum": quantum,
        "whole": type(domain).__name__ == "Integer",
    }


def _from_range(name: str, description: Mapping[str, Any]) -> Parameter:
    low, high, is_log, quantum = (description[key] for key in ("low", "high", "log", "quantum"))
    if description["whole"] and quantum in (None, 1):  # Ray includes the upper end from a step of 2 on
        return Parameter(name, "int", IntDistribution(low, high - 1, log=is_log))
    if quantum is None:
        return Parameter(name, "float", FloatDistribution(low, high, log=is_log))
    return _multiples(name, low, high, quantum, is_log)


def _multiples(name: str, low: float, high: float, quantum: float, is_log: bool) -> Parameter:
    """Return the parameter for the multiples of ``quantum`` in the range, which are what Ray samples."""
    first, last = rounded(low / quantum, math.ceil), rounded(high / quantum, math.floor)
    if first > last:
        raise InputError(
            f"space.{name}",
            f"{low} to {high} in steps of {quantum}",
            "write a range that contains a multiple of the step.",
        )
    if float(quantum).is_integer():
        whole = int(quantum)
        # Optuna has no logarithmic grid: it samples the range, and the model gets the nearest multiple.
        if is_log:
            return Parameter(name, "int", IntDistribution(first * whole, last * whole, log=True), quantum=whole)
        return Parameter(name, "int", IntDistribution(first * whole, last * whole, step=whole))
    quantum, low, high = (round(number, 12) for number in (quantum, first * quantum, last * quantum))
    step = None if is_log else quantum
    return Parameter(name, "float", FloatDistribution(low, high, log=is_log, step=step), quantum=quantum)


def rounded(number: float, towards: Callable[[float], int]) -> int:
    """Return the whole number that this one is up to rounding errors, else the next in that direction."""
    nearest = round(number)
    return nearest if math.isclose(number, nearest) else towards(number)


def choices(name: str, given: Sequence[Any]) -> Parameter:
    """Return the parameter for a list of choices.

    Raises:
        InputError: there are no choices, or one is no JSON value.
    """
    values = as_json(name, given)
    if not values:
        raise InputError(f"space.{name}", "[]", "write at least one choice.")
    return from_choices(name, values)
