"""Where a worker's second goes: the phases that its stopwatch counted, over a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.measures import phases, tally
from storage.store import Store
from storage.studies import StoredStudy

# In the order in which they are shown.
PHASES = {
    "training": "training steps",
    "validation": "validation checks",
    "setup": "building the model, the beginning and end of its fit",
    "sampling": "choosing parameters",
    "pruning": "asking the pruner",
    "checkpoints": "keeping the training's state",
    "storage": "waiting for PostgreSQL, in all that is above",
    "idle": "waiting for a slot",
    "elsewhere": "between: reading the data, notes, pictures",
}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Profile:
    """What a study's workers did with their time.

    Attributes:
        seconds: by phase, of attempts that have ended.
        working: seconds that workers were there; what is not in ``seconds`` is of attempts under way or lost, and of
            workers that came and went.
        attempts: that have ended.
    """

    seconds: Mapping[str, float]
    working: float
    attempts: int

    @property
    def whole(self) -> dict[str, float]:
        """Seconds by phase, and what no attempt has written down."""
        known = {phase: self.seconds.get(phase, 0.0) for phase in PHASES}
        return {**known, UNKNOWN: max(0.0, self.working - sum(known.values()))}

    def as_values(self) -> dict[str, Any]:
        """Return the profile as JSON values."""
        return {
            "working_seconds": round(self.working, 1),
            "attempts": self.attempts,
            "seconds": {phase: round(own, 3) for phase, own in self.whole.items()},
        }

    def as_lines(self) -> list[str]:
        """Return it as a table for people."""
        total = max(sum(self.whole.values()), 1e-9)
        lines = [f"where the workers' {total:.0f} s went, and milliseconds an attempt"]
        for phase, own in self.whole.items():
            words = PHASES.get(phase, "attempts under way or lost, a worker's coming and going")
            each = 1000 * own / max(1, self.attempts)
            lines.append(f"  {phase:12} {own / total:6.1%} {own:10.1f} s {each:10.0f} ms  {words}")
        return lines


def read_profile(store: Store, stored: StoredStudy) -> Profile:
    """Return the profile of a study as it is now."""
    numbers = tally(store.engine, stored.study_id)
    return Profile(phases(store.engine, stored.study_id), numbers.working_seconds, numbers.attempts)
