"""What a study looks like right now, in one read: for the live table, `castpool status` and the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine, RowMapping

from storage.engine import patiently
from storage.slots import SlotCounts
from storage.sql import slots, trials


@dataclass(frozen=True)
class TrialView:
    """One attempt. ``slot`` is the one whose latest it is; an earlier one, lost or handed back, has none.

    Values are None where they are not finite; times are aware.
    """

    trial_id: int
    number: int
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    value: float | None
    step: int | None
    last_value: float | None
    note: Mapping[str, Any] | None
    reason: str | None
    slot: int | None
    outcome: str | None


@dataclass(frozen=True)
class Snapshot:
    """The slots, and every attempt in the order of its number."""

    counts: SlotCounts
    trials: tuple[TrialView, ...]

    @property
    def best(self) -> TrialView | None:
        """The complete trial with the lowest value, the earlier of equals."""
        complete = [own for own in self.trials if own.state == "COMPLETE" and own.value is not None]
        return min(complete, key=lambda own: (own.value, own.number), default=None)

    @property
    def default(self) -> TrialView | None:
        """The attempt that trains the model's own defaults."""
        return next((own for own in self.trials if own.slot == 0 and own.state == "COMPLETE"), None)

    def ended_as(self, outcome: str) -> int:
        """Return how many slots ended this way: complete, pruned, diverged or failed."""
        return sum(own.outcome == outcome for own in self.trials)


def take(engine: Engine, study_id: int) -> Snapshot:
    """Return the study's present state: the slots and the trials of the same moment."""

    def read() -> Snapshot:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            counts = SlotCounts(*connection.exec_driver_sql(slots.COUNT, {"study_id": study_id}).one())
            rows = connection.exec_driver_sql(trials.VIEWS, {"study_id": study_id}).mappings()
            return Snapshot(counts, tuple(_view(row) for row in rows))

    return patiently(read)


def _view(row: RowMapping) -> TrialView:
    # Decoded here: Python's JSON knows NaN and \u0000 in a failure's reason, PostgreSQL's does not.
    decoded = {key: None if row[key] is None else json.loads(row[key]) for key in ("note", "reason")}
    return TrialView(**{**row, **decoded})
