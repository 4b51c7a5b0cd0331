"""Reading search spaces: Ray's domains (NeuralForecast's default spaces are made of them) and users' YAML.

Ray's objects are told apart by their class names, so that reading a space does not import Ray.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from sampler_policies.errors import InputError, did_you_mean
from sampler_policies.parameter import Parameter, from_choices
from sampler_policies.space import Space

RANGE_KEYS = ("low", "high", "log", "step")


def from_ray(config: Mapping[str, Any]) -> Space:
    """Translate a configuration of Ray domains and constants.

    Ray's integer ranges exclude their upper end, Optuna's include it; a quantised range keeps its step.

    Raises:
        InputError: a domain that no Optuna distribution expresses (``sample_from``, a normal distribution).
    """
    space = Space(())
    for name, domain in config.items():
        if isinstance(domain, Mapping) and set(domain) == {"grid_search"}:
            space = searching_or_fixing(space, from_choices(name, domain["grid_search"]))
        elif type(domain).__name__ in ("Categorical", "Integer", "Float", "Function"):
            space = searching_or_fixing(space, _from_domain(name, domain))
        else:
            space = space.fixing(name, domain)
    return space


def searching_or_fixing(space: Space, parameter: Parameter, note: str | None = None) -> Space:
    """Return the space with this parameter searched, or fixed where it has one value only."""
    if parameter.distribution.single():
        return space.fixing(parameter.name, parameter.decode(_only_value(parameter)), note)
    return space.searching(parameter, note)


def _only_value(parameter: Parameter) -> Any:
    distribution = parameter.distribution
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return distribution.low
    return distribution.to_external_repr(0)


def _from_domain(name: str, domain: Any) -> Parameter:
    if type(domain).__name__ == "Categorical":
        return from_choices(name, domain.categories)
    sampler = getattr(domain, "sampler", None)
    quantum = sampler.q if type(sampler).__name__ == "Quantized" else None
    inner = sampler.sampler if quantum is not None else sampler
    kind = type(inner).__name__
    if type(domain).__name__ == "Function" or kind not in ("_Uniform", "_LogUniform"):
        raise InputError(
            f"space.{name}",
            repr(domain),
            "write a choice, a range (low, high) or one value: Optuna has no such domain.",
        )
    is_log = kind == "_LogUniform"
    if type(domain).__name__ == "Integer":
        if quantum is None:
            return Parameter(name, "int", IntDistribution(domain.lower, domain.upper - 1, log=is_log))
        return _on_grid(name, domain.lower, domain.upper, quantum, is_log)
    if quantum is None:
        return Parameter(name, "float", FloatDistribution(domain.lower, domain.upper, log=is_log))
    return _on_grid(name, domain.lower, domain.upper, quantum, is_log)


def _on_grid(name: str, low: float, high: float, quantum: float, is_log: bool) -> Parameter:
    integral = all(float(number).is_integer() for number in (low, high, quantum))
    if integral and not is_log:
        return _integers(name, int(low), int(high), step=int(quantum))
    if not is_log:
        return Parameter(name, "float", FloatDistribution(low, high, step=quantum))
    # Optuna has no logarithmic grid: it samples the range, and the model gets the nearest grid point.
    if integral:
        return Parameter(name, "int", IntDistribution(int(low), int(high), log=True), quantum=int(quantum))
    return Parameter(name, "float", FloatDistribution(low, high, log=True), quantum=quantum)


def _integers(name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Parameter:
    last = low + (high - low) // step * step
    return Parameter(name, "int", IntDistribution(low, last, step=step, log=log))


def override(space: Space, overrides: Mapping[str, Any], known: Iterable[str]) -> Space:
    """Return the space with the user's own parameters in place of the default ones.

    Each is ``[a, b, c]`` (choices), ``{low:, high:, log:, step:}`` (a range), ``{value: X}`` or a plain X (fixed).
    ``known`` are the arguments that the model takes.

    Raises:
        InputError: an argument that the model does not take, or a range that is none.
    """
    names = set(known)
    for name, given in overrides.items():
        if name not in names:
            raise InputError("space", repr(name), f"the model takes no such argument: {did_you_mean(name, names)}")
        if isinstance(given, Mapping) and set(given) == {"value"}:
            space = space.fixing(name, given["value"])
        elif isinstance(given, Mapping):
            space = searching_or_fixing(space, _range(name, given))
        elif isinstance(given, list | tuple):
            if not given:
                raise InputError(f"space.{name}", "[]", "write at least one choice.")
            space = searching_or_fixing(space, from_choices(name, list(given)))
        else:
            space = space.fixing(name, given)
    return space


def _range(name: str, given: Mapping[str, Any]) -> Parameter:
    if set(given) == {"choices"}:
        return from_choices(name, list(given["choices"]))
    unknown = sorted(set(given) - set(RANGE_KEYS))
    if unknown:
        known = (*RANGE_KEYS, "choices", "value")
        raise InputError(f"space.{name}", repr(unknown[0]), did_you_mean(unknown[0], known))
    low, high, step, log = given.get("low"), given.get("high"), given.get("step"), bool(given.get("log", False))
    numbers = [number for number in (low, high, step) if number is not None]
    if low is None or high is None or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise InputError(
            f"space.{name}", dict(given), "write numbers for low and high, e.g. {low: 0.0001, high: 0.01}."
        )
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"space.{name}", dict(given), "write a low that is not above high.")
    if log and (low <= 0 or step is not None):
        raise InputError(f"space.{name}", dict(given), "a log range needs low above 0 and takes no step.")
    if step is not None and step <= 0:
        raise InputError(f"space.{name}", dict(given), "write a step above 0.")
    if all(isinstance(number, int) for number in numbers):
        return _integers(name, low, high, step=step or 1, log=log)
    return Parameter(name, "float", FloatDistribution(float(low), float(high), log=log, step=step))
