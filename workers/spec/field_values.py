"""How the values of some fields are read: what a user may write, and what the spec then holds."""

from __future__ import annotations

import re

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def read_seconds(given: object) -> object:
    """Return a time in seconds, from a number or a text as ``30m`` or ``2h``.

    Raises:
        ValueError: a text that is no time.
    """
    if isinstance(given, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd]?)", given.strip().lower())):
        return float(found[1]) * UNITS[found[2]]
    if isinstance(given, str):
        raise ValueError("write seconds, or a number with its unit as 30m or 2h")
    return given


def read_members(given: object) -> object:
    """Return a number of members, or ``none``.

    Raises:
        ValueError: anything else.
    """
    if isinstance(given, str) and given.strip().lstrip("-").isdigit():
        given = int(given)
    if given is not None and given != "none" and not (isinstance(given, int) and given >= 1):
        raise ValueError("write a number of members of at least 1, or none")
    return given


def read_levels(given: object) -> tuple[int, ...]:
    """Return levels of prediction intervals, sorted, from numbers or texts as ``80`` or ``80,95``.

    Raises:
        ValueError: anything but whole numbers between 0 and 100.
    """
    texts = [given] if isinstance(given, int | float | str) else given
    if not isinstance(texts, list | tuple):
        raise ValueError("write percentages between 0 and 100, e.g. 80")
    levels = set()
    for text in (part for each in texts for part in re.split(r"[,\s]+", str(each).strip())):
        if not re.fullmatch(r"\d+(\.0+)?", text) or not 0 < float(text) < 100:
            raise ValueError("write whole percentages between 0 and 100, e.g. 80")
        levels.add(int(float(text)))
    return tuple(sorted(levels))
