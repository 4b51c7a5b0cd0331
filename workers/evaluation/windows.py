"""Where evaluation windows lie: origins, counted from the end of each series.

    |------ training ------|== verification ==|== validation ==|= holdout =|
                           ^ an older origin  ^ search ends here           ^ end of the series

A training ends at an origin. The windows after it are forecast one after another, each from all observations before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castpool.workers.spec.job import Job


@dataclass(frozen=True)
class Windows:
    """Windows of one origin.

    Attributes:
        behind: observations of each series after the origin.
        size: observations from the origin to the end of the last window.
        distance: observations between the beginnings of two windows; the last window ends at the end of ``size``.
    """

    behind: int
    size: int
    distance: int

    def count(self, horizon: int) -> int:
        """Return the number of windows."""
        return (self.size - horizon) // self.distance + 1

    @property
    def remaining(self) -> int:
        """Observations of each series after the last window."""
        return self.behind - self.size


def verification_windows(job: Job) -> tuple[Windows, ...]:
    """Return the windows of each origin of the verification, the newest first; they lie before the validation."""
    origins = _arguments(job, "verification").get("origins", 0)
    size, distance = job.spec.validation_size, job.spec.validation_step_size
    before = (job.spec.holdout or 0) + size
    # Windows follow each other from the origin: what is left of the size does not hold another one.
    covered = size - (size - job.spec.horizon) % distance
    return tuple(Windows(before + number * size, covered, distance) for number in range(1, origins + 1))


def holdout_windows(job: Job) -> Windows | None:
    """Return the windows of the holdout, which do not overlap; None where there is no holdout."""
    holdout, horizon = job.spec.holdout or 0, job.spec.horizon
    if holdout < horizon:
        return None
    size = holdout - holdout % horizon
    return Windows(size, size, horizon)


def _arguments(job: Job, subject: str) -> Mapping[str, int]:
    decision = job.plan.find(subject)
    return {} if decision is None else decision.arguments
