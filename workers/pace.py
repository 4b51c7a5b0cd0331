"""How fast a training's steps are."""

from __future__ import annotations

import math
import time


class Pace:
    """The seconds that a training step takes.

    Those of the first step, which prepares what all need, do not count, nor do those of a validation that the last
    step is followed by: the first validation prepares as much again.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None

    def step(self, step: int) -> None:
        """Notice that this step is done. A training that goes on elsewhere begins with another than the first."""
        self._last = step, time.monotonic()
        self._first = self._first or self._last

    def seconds_of(self, steps: int) -> float:
        """Return how long so many steps take at the pace so far; infinity where nobody can tell yet."""
        if self._first is None or self._last is None or self._last[0] == self._first[0]:
            return math.inf
        (first, began), (last, ended) = self._first, self._last
        return (ended - began) / (last - first) * steps
