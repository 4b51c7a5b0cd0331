"""The time profile of a study: the seconds that its workers spent in each phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from castpool.storage.store import Store
from castpool.storage.study.statistics import phases, tally
from castpool.storage.study.studies import StoredStudy
from castpool.workers.support.phases import PHASES

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Profile:
    """How a study's workers spent their time.

    Attributes:
        seconds: by phase, of attempts that have ended.
        working: seconds that workers were present; the rest beside ``seconds`` belongs to running and lost attempts,
            and to the start and end of workers.
        attempts: the number of attempts that have ended.
    """

    seconds: Mapping[str, float]
    working: float
    attempts: int

    @property
    def whole(self) -> dict[str, float]:
        """Seconds by phase, and the seconds that no attempt has recorded."""
        known = {phase: self.seconds.get(phase, 0.0) for phase in PHASES}
        return {**known, UNKNOWN: max(0.0, self.working - sum(known.values()))}

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON values."""
        return {
            "working_seconds": round(self.working, 1),
            "attempts": self.attempts,
            "seconds": {phase: round(seconds, 3) for phase, seconds in self.whole.items()},
        }

    def format_lines(self) -> list[str]:
        """Return the profile as the lines of a table."""
        total = max(sum(self.whole.values()), 1e-9)
        lines = [f"the workers' {total:.0f} s by phase, with milliseconds per attempt"]
        for phase, seconds in self.whole.items():
            meaning = PHASES.get(phase, "running and lost attempts, start and end of workers")
            each = 1000 * seconds / max(1, self.attempts)
            lines.append(f"  {phase:12} {seconds / total:6.1%} {seconds:10.1f} s {each:10.0f} ms  {meaning}")
        return lines


def read_profile(store: Store, stored: StoredStudy) -> Profile:
    """Return the profile of a study as it is now."""
    numbers = tally(store.engine, stored.study_id)
    return Profile(phases(store.engine, stored.study_id), numbers.working_seconds, numbers.attempts)
