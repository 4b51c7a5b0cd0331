"""The present state of a study in one read: for the live table, `castpool status` and the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine, RowMapping

from castpool.storage.budget.default_slot import is_default_slot
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.slots import SlotCounts
from castpool.storage.connection.engine import retry_during_outage
from castpool.storage.sql import slots, trials


@dataclass(frozen=True)
class TrialView:
    """One attempt. ``slot`` is None where a later attempt has followed it.

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
    outcome: Outcome | None


@dataclass(frozen=True)
class Snapshot:
    """The slots, and every attempt in the order of its number."""

    counts: SlotCounts
    trials: tuple[TrialView, ...]

    @property
    def best(self) -> TrialView | None:
        """The complete trial with the lowest value, the earlier of equals."""
        complete = [trial for trial in self.trials if trial.state == "COMPLETE" and trial.value is not None]
        return min(complete, key=lambda trial: (trial.value, trial.number), default=None)

    @property
    def default(self) -> TrialView | None:
        """The complete attempt that trains the model's default configuration."""
        trials = (trial for trial in self.trials if is_default_slot(trial.slot) and trial.state == "COMPLETE")
        return next(trials, None)

    def ended_as(self, outcome: Outcome) -> int:
        """Return how many slots ended this way."""
        return sum(trial.outcome == outcome for trial in self.trials)


def take(engine: Engine, study_id: int) -> Snapshot:
    """Return the study's present state: its slots and its trials at one moment."""

    def read() -> Snapshot:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            counts = SlotCounts.from_row(connection.exec_driver_sql(slots.COUNT, {"study_id": study_id}).one())
            rows = connection.exec_driver_sql(trials.VIEWS, {"study_id": study_id}).mappings()
            return Snapshot(counts, tuple(_view(row) for row in rows))

    return retry_during_outage(read)


def _view(row: RowMapping) -> TrialView:
    # Decoded here: Python's JSON knows NaN and \u0000 in a failure's reason, PostgreSQL's does not.
    decoded = {key: None if row[key] is None else json.loads(row[key]) for key in ("note", "reason")}
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    return TrialView(**{**row, **decoded, "outcome": outcome})
