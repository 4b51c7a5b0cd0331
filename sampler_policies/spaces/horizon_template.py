"""A default space as a function of the horizon: read from a class at some horizons, computed for all others.

NeuralForecast creates default spaces for a horizon, and nearly every number in them is constant or a multiple of it.
Read at two horizons, such a space can be computed without its class, and so without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Described = Mapping[str, Mapping[str, Any]]

FIRST, SECOND = 2, 500
CHECKED = (1, 7, 24, 96)


def read_template(at: Callable[[int], Described]) -> dict[str, Any] | None:
    """Return the space with a line for each number that depends on the horizon; None where one is not linear.

    Args:
        at: returns the space for a horizon, as JSON values.
    """
    try:
        template: dict[str, Any] = _line(at(FIRST), at(SECOND))
    except ValueError:
        return None
    return template if all(filled(template, horizon) == at(horizon) for horizon in CHECKED) else None


def filled(template: Any, horizon: int) -> Any:
    """Return the space of a template for a horizon."""
    if isinstance(template, Mapping):
        if set(template) == {"slope", "at_zero"}:
            return template["at_zero"] + template["slope"] * horizon
        return {key: filled(entry, horizon) for key, entry in template.items()}
    if isinstance(template, list):
        return [filled(entry, horizon) for entry in template]
    return template


def _line(first: Any, second: Any) -> Any:
    if type(first) is type(second) and first == second:
        return first
    if isinstance(first, Mapping) and isinstance(second, Mapping) and first.keys() == second.keys():
        return {key: _line(first[key], second[key]) for key in first}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_line(*pair) for pair in zip(first, second, strict=True)]
    numbers = [number for number in (first, second) if isinstance(number, int) and not isinstance(number, bool)]
    slope, rest = divmod(numbers[1] - numbers[0], SECOND - FIRST) if len(numbers) == 2 else (0, 1)
    if rest:
        raise ValueError(f"{first} and {second} are on no line of whole numbers")
    return {"slope": slope, "at_zero": first - slope * FIRST}
