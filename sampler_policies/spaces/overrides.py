"""The parameters that users write, in YAML or Python, in place of those of a default space."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.spaces.parameter import Parameter
from castpool.sampler_policies.spaces.ray_domains import as_json, choices, rounded, searching_or_fixing
from castpool.sampler_policies.spaces.space import Space

RANGE_KEYS = ("low", "high", "log", "step")
NUMBER_AS_TEXT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def override(
    space: Space, overrides: Mapping[str, Any], known: Iterable[str], defaults: Mapping[str, Any] | None = None
) -> Space:
    """Return the space with the user's parameters in place of the default ones.

    Each is ``[a, b, c]`` or ``{choices: [a, b, c]}``, ``{low:, high:, log:, step:}`` (a range), ``{value: X}`` or a
    plain X (fixed). A range is of integers where all its numbers are, unless the model's default is a fraction.

    A mapping may also have ``when: {other: value}`` (only in trials where the other argument has that value, or one of
    a list of values) and ``repeat: other`` (a list, with as many entries as the other's value). An argument whose name
    begins with an underscore serves such conditions only; the model does not get it.

    Args:
        space: the space to change.
        overrides: the user's parameters, by the name of the argument.
        known: the arguments that the model takes.
        defaults: their values in the model's signature.

    Raises:
        InputError: the model does not take an argument, or a range is invalid.
    """
    names = set(known)
    for name, given in overrides.items():
        if name not in names and not str(name).startswith("_"):
            raise InputError("space", repr(name), f"the model takes no such argument: {did_you_mean(name, names)}")
        space = _overridden(space, name, _with_numbers(given), (defaults or {}).get(name))
    _refuse_dangling(space)
    return space


def _refuse_dangling(space: Space) -> None:
    known = {parameter.name for parameter in space.parameters} | set(space.constants)
    for parameter in space.parameters:
        repeated = [("repeat", parameter.repeat)] if parameter.repeat else []
        for key, other in [*(("when", name) for name in parameter.when), *repeated]:
            if other not in known:
                remedy = f"it names no argument of the space: {did_you_mean(other, known - {parameter.name})}"
                raise InputError(f"space.{parameter.name}.{key}", repr(other), remedy)
        if parameter.repeat is not None and not all(
            isinstance(n, int) and n >= 0 for n in _ends(space, parameter.repeat)
        ):
            remedy = "write the name of an argument that is a whole number of at least 0."
            raise InputError(f"space.{parameter.name}.repeat", repr(parameter.repeat), remedy)
    try:
        space.in_order()
    except CycleError as error:
        raise InputError(
            "space", " -> ".join(error.args[1]), "write no parameters that depend on each other in a circle."
        ) from None


def _ends(space: Space, name: str) -> list[Any]:
    return space[name].extremes() if name in space else [space.constants[name]]


def _with_numbers(given: Any) -> Any:
    """Return what was written with text such as ``1e-4`` as numbers: YAML 1.1 reads it as text."""
    if isinstance(given, str) and NUMBER_AS_TEXT.fullmatch(given):
        return float(given)
    if isinstance(given, list | tuple):
        return [_with_numbers(entry) for entry in given]
    if isinstance(given, Mapping):
        return {key: _with_numbers(entry) for key, entry in given.items()}
    return given


def _overridden(space: Space, name: str, given: Any, default: Any) -> Space:
    if isinstance(given, Mapping) and (given.keys() & {"when", "repeat"}):
        return space.searching(_branching(name, given, default))
    if isinstance(given, Mapping) and set(given) == {"value"}:
        return space.fixing(name, as_json(name, given["value"]))
    if isinstance(given, Mapping) and set(given) == {"choices"}:
        given = given["choices"]
        if not isinstance(given, list):
            raise InputError(f"space.{name}", repr(given), "write the choices as a list, [a, b].")
    if isinstance(given, Mapping):
        return searching_or_fixing(space, _range(name, given, is_fraction=isinstance(default, float)))
    if isinstance(given, list):
        if isinstance(default, list | tuple) and any(isinstance(choice, bool | int | float | str) for choice in given):
            remedy = f"each choice is a list: write [{given}], or {{value: {given}}} to fix this list."
            raise InputError(f"space.{name}", given, remedy)
        return searching_or_fixing(space, choices(name, given))
    return space.fixing(name, as_json(name, given))


def _branching(name: str, given: Mapping[str, Any], default: Any) -> Parameter:
    """Return the parameter of a mapping with ``when`` or ``repeat``; it is searched even with a single value."""
    rest = {key: entry for key, entry in given.items() if key not in ("when", "repeat")}
    when, repeat = given.get("when", {}), given.get("repeat")
    if not isinstance(when, Mapping):
        raise InputError(f"space.{name}.when", repr(when), "write it as {other: value} or {other: [a, b]}.")
    if repeat is not None and not isinstance(repeat, str):
        raise InputError(
            f"space.{name}.repeat", repr(repeat), "write the name of the argument with the number of entries."
        )
    if set(rest) == {"value"}:
        parameter = choices(name, [rest["value"]])
    elif set(rest) == {"choices"}:
        parameter = choices(name, rest["choices"])
    else:
        parameter = _range(name, rest, is_fraction=isinstance(default, float))
    values = {other: tuple(value if isinstance(value, list) else [value]) for other, value in when.items()}
    return replace(parameter, when=values, repeat=repeat)


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
    last = high if step is None else round(low + rounded((high - low) / step, math.floor) * step, 12)
    return Parameter(name, "float", FloatDistribution(low, last, step=step, log=is_log))


def _problem_of_range(numbers: Sequence[Any], is_log: Any) -> str | None:
    """Return the remedy for an invalid low, high or step; None where they are a valid range."""
    if any(
        isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number)
        for number in numbers
    ):
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
