"""Reading search spaces: Ray's domains (NeuralForecast's default spaces are made of them) and users' YAML.

Ray's objects are told apart by their class names, so that reading a space does not import Ray.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from sampler_policies.errors import InputError, did_you_mean
from sampler_policies.parameter import Parameter, from_choices
from sampler_policies.space import Space

RANGE_KEYS = ("low", "high", "log", "step")
RAY_DOMAINS = ("Categorical", "Integer", "Float", "Function")
NUMBER_AS_TEXT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def from_ray(config: Mapping[str, Any]) -> Space:
    """Translate a configuration of Ray domains and constants.

    Ray's integer ranges exclude their upper end, Optuna's include it; a quantised range keeps its step.

    Raises:
        InputError: a domain that no Optuna distribution expresses (``sample_from``, a normal distribution), or
            an object that a storage cannot keep.
    """
    space = Space(())
    for name, domain in config.items():
        if isinstance(domain, Mapping) and set(domain) == {"grid_search"}:
            space = searching_or_fixing(space, _choices(name, domain["grid_search"]))
        elif type(domain).__name__ in RAY_DOMAINS:
            space = searching_or_fixing(space, _from_domain(name, domain))
        else:
            space = space.fixing(name, as_json(name, domain))
    return space


def searching_or_fixing(space: Space, parameter: Parameter, note: str | None = None) -> Space:
    """Return the space with this parameter searched, or fixed where it has one value only."""
    if parameter.distribution.single():
        return space.fixing(parameter.name, parameter.extremes()[0], note)
    return space.searching(parameter, note)


def as_json(name: str, value: Any) -> Any:
    """Return the value as the storage gives it back: JSON's types, numpy's numbers and arrays as Python's.

    Raises:
        InputError: a value that JSON does not have.
    """
    try:
        return json.loads(json.dumps(value, default=lambda own: own.tolist(), allow_nan=False))
    except (TypeError, ValueError, AttributeError):
        remedy = (
            "write finite numbers, names, flags or lists of them; other objects only a configuration function takes."
        )
        raise InputError(f"space.{name}", repr(value), remedy) from None


def _from_domain(name: str, domain: Any) -> Parameter:
    if type(domain).__name__ == "Categorical":
        return _choices(name, domain.categories)
    sampler = domain.get_sampler()
    quantum = None
    if type(sampler).__name__ == "Quantized":
        quantum, sampler = sampler.q, sampler.sampler
    kind = type(sampler).__name__
    if type(domain).__name__ == "Function" or kind not in ("_Uniform", "_LogUniform"):
        remedy = "write a choice, a range (low, high) or one value: Optuna has no such domain."
        raise InputError(f"space.{name}", repr(domain), remedy)
    is_log = kind == "_LogUniform"
    if type(domain).__name__ == "Integer" and quantum in (None, 1):  # Ray includes the upper end from a step of 2 on
        return Parameter(name, "int", IntDistribution(domain.lower, domain.upper - 1, log=is_log))
    if quantum is None:
        return Parameter(name, "float", FloatDistribution(domain.lower, domain.upper, log=is_log))
    return _multiples(name, domain.lower, domain.upper, quantum, is_log)


def _multiples(name: str, low: float, high: float, quantum: float, is_log: bool) -> Parameter:
    """Return the parameter for the multiples of ``quantum`` in the range, which are what Ray samples."""
    first, last = _rounded(low / quantum, math.ceil), _rounded(high / quantum, math.floor)
    if first > last:
        raise InputError(f"space.{name}", f"{low} to {high} in steps of {quantum}", "no multiple of the step is in it.")
    if float(quantum).is_integer():
        whole = int(quantum)
        # Optuna has no logarithmic grid: it samples the range, and the model gets the nearest multiple.
        if is_log:
            return Parameter(name, "int", IntDistribution(first * whole, last * whole, log=True), quantum=whole)
        return Parameter(name, "int", IntDistribution(first * whole, last * whole, step=whole))
    quantum, low, high = (round(number, 12) for number in (quantum, first * quantum, last * quantum))
    step = None if is_log else quantum
    return Parameter(name, "float", FloatDistribution(low, high, log=is_log, step=step), quantum=quantum)


def _rounded(number: float, towards: Callable[[float], int]) -> int:
    nearest = round(number)
    return nearest if math.isclose(number, nearest) else towards(number)


def override(
    space: Space, overrides: Mapping[str, Any], known: Iterable[str], defaults: Mapping[str, Any] | None = None
) -> Space:
    """Return the space with the user's own parameters in place of the default ones.

    Each is ``[a, b, c]`` or ``{choices: [a, b, c]}``, ``{low:, high:, log:, step:}`` (a range), ``{value: X}`` or a
    plain X (fixed). A range is of integers where all its numbers are, unless the model's default is a fraction.

    Args:
        space: the space to change.
        overrides: what the user wrote, by the name of the argument.
        known: the arguments that the model takes.
        defaults: their values in the model's signature.

    Raises:
        InputError: an argument that the model does not take, or a range that is none.
    """
    names = set(known)
    for name, given in overrides.items():
        if name not in names:
            raise InputError("space", repr(name), f"the model takes no such argument: {did_you_mean(name, names)}")
        space = _overridden(space, name, _with_numbers(given), (defaults or {}).get(name))
    return space


def _with_numbers(given: Any) -> Any:
    """Return what was written with its numbers as such: YAML 1.1 reads ``1e-4`` as text."""
    if isinstance(given, str) and NUMBER_AS_TEXT.fullmatch(given):
        return float(given)
    if isinstance(given, list | tuple):
        return [_with_numbers(own) for own in given]
    if isinstance(given, Mapping):
        return {key: _with_numbers(own) for key, own in given.items()}
    return given


def _overridden(space: Space, name: str, given: Any, default: Any) -> Space:
    if isinstance(given, Mapping) and set(given) == {"value"}:
        return space.fixing(name, as_json(name, given["value"]))
    if isinstance(given, Mapping) and set(given) == {"choices"}:
        given = given["choices"]
        if not isinstance(given, list):
            raise InputError(f"space.{name}", repr(given), "write the choices as a list, [a, b].")
    if isinstance(given, Mapping):
        return searching_or_fixing(space, _range(name, given, is_fraction=isinstance(default, float)))
    if isinstance(given, list):
        if isinstance(default, list | tuple) and any(isinstance(own, bool | int | float | str) for own in given):
            remedy = f"each choice is a list: write [{given}], or {{value: {given}}} for this one alone."
            raise InputError(f"space.{name}", given, remedy)
        return searching_or_fixing(space, _choices(name, given))
    return space.fixing(name, as_json(name, given))


def _choices(name: str, given: Sequence[Any]) -> Parameter:
    choices = as_json(name, given)
    if not choices:
        raise InputError(f"space.{name}", "[]", "write at least one choice.")
    return from_choices(name, choices)


def _range(name: str, given: Mapping[str, Any], *, is_fraction: bool) -> Parameter:
    unknown = next((key for key in given if key not in RANGE_KEYS), None)
    if unknown is not None:
        alone = ("choices", "value")
        remedy = f"write {unknown} alone." if unknown in alone else did_you_mean(unknown, (*RANGE_KEYS, *alone))
        raise InputError(f"space.{name}", repr(unknown), remedy)
    full: dict[str, Any] = {"low": None, "high": None, "step": None, "log": False, **given}
    low, high, step, is_log = full["low"], full["high"], full["step"], full["log"]
    numbers = [low, high] if step is None else [low, high, step]
    if problem := _problem_of_range(numbers, is_log):
        raise InputError(f"space.{name}", dict(given), problem)
    if all(isinstance(number, int) for number in numbers) and not is_fraction:
        last = high if step is None else low + (high - low) // step * step
        return Parameter(name, "int", IntDistribution(low, last, step=step or 1, log=is_log))
    last = high if step is None else round(low + _rounded((high - low) / step, math.floor) * step, 12)
    return Parameter(name, "float", FloatDistribution(low, last, step=step, log=is_log))


def _problem_of_range(numbers: Sequence[Any], is_log: Any) -> str | None:
    """Return what to write instead of low, high and, where there is one, step; None where they make a range."""
    if any(isinstance(own, bool) or not isinstance(own, int | float) or not math.isfinite(own) for own in numbers):
        return "write numbers for low and high, e.g. {low: 0.0001, high: 0.01}."
    low, high, *step = numbers
    if low > high:
        return "write a low that is not above high."
    if not isinstance(is_log, bool):
        return "write log: true or leave it out."
    if is_log and (low <= 0 or step):
        return "a log range needs low above 0 and takes no step."
    if step and step[0] <= 0:
        return "write a step above 0."
    return None
