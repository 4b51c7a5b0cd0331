"""A default space as the horizon makes it: read from a class at some horizons, known for all others.

NeuralForecast's default spaces are made for a horizon, and nearly every number in them is a constant or a multiple of
it. Read twice, such a space is known without asking the class again, and so without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Described = Mapping[str, Mapping[str, Any]]

FIRST, SECOND = 2, 500
CHECKED = (1, 7, 24, 96)


def read_template(at: Callable[[int], Described]) -> dict[str, Any] | None:
    """Return the space with each number that grows with the horizon as a line; None where it does not grow evenly.

    Args:
        at: returns the space for a horizon, as JSON values.
    """
    try:
        template: dict[str, Any] = _line(at(FIRST), at(SECOND))
    except ValueError:
        return None
    return template if all(filled(template, own) == at(own) for own in CHECKED) else None


def filled(template: Any, horizon: int) -> Any:
    """Return the space of a template for a horizon."""
    if isinstance(template, Mapping):
        if set(template) == {"slope", "at_zero"}:
            return template["at_zero"] + template["slope"] * horizon
        return {key: filled(own, horizon) for key, own in template.items()}
    if isinstance(template, list):
        return [filled(own, horizon) for own in template]
    return template


def _line(first: Any, second: Any) -> Any:
    if type(first) is type(second) and first == second:
        return first
    if isinstance(first, Mapping) and isinstance(second, Mapping) and first.keys() == second.keys():
        return {key: _line(first[key], second[key]) for key in first}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_line(*pair) for pair in zip(first, second, strict=True)]
    numbers = [own for own in (first, second) if isinstance(own, int) and not isinstance(own, bool)]
    slope, rest = divmod(numbers[1] - numbers[0], SECOND - FIRST) if len(numbers) == 2 else (0, 1)
    if rest:
        raise ValueError(f"{first} and {second} are on no line of whole numbers")
    return {"slope": slope, "at_zero": first - slope * FIRST}
