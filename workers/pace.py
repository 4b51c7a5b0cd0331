"""How fast a training's steps are."""

from __future__ import annotations

import math
import time


class Pace:
    """The seconds that a training step takes. Those of the first, which prepares what all need, do not count."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def step(self, step: int) -> None:
        """Notice that this step is done. A training that goes on elsewhere begins with another than the first."""
        if self._first is None:
            self._first = step, time.monotonic()

    def seconds_of(self, steps: int, *, now: int) -> float:
        """Return how long so many steps take, at the pace of those up to step ``now``.

        Infinity where nobody can tell yet.
        """
        if self._first is None or now <= self._first[0]:
            return math.inf
        first, began = self._first
        return (time.monotonic() - began) / (now - first) * steps
