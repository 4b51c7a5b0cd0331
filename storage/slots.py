"""The budget: a study's slots, claimed under a lease, ended once.

A slot is open (nobody's), leased (a worker's until ``lease_until``, by the server's clock) or ended. Every
write names slot, worker and attempt: one whose lease has passed on changes nothing and is told so. A lease that
has run out is still its worker's until a reaper takes it, so a beat that comes late but in time saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from sqlalchemy.engine import Engine, Row

from storage.engine import patiently, run
from storage.errors import LeaseLostError
from storage.sql import slots as sql

LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Claim:
    """A slot that a worker holds. ``retry_of`` is the Optuna trial of the attempt before, if there was one."""

    study_id: int
    slot: int
    attempt: int
    worker_id: int
    params: Mapping[str, Any] | None = None
    retry_of: int | None = None

    @property
    def key(self) -> dict[str, int]:
        """What every write names."""
        names = ("study_id", "slot", "attempt", "worker_id")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class SlotCounts:
    """How far the budget is spent."""

    slots: int
    ended: int
    leased: int

    @property
    def open(self) -> int:
        """Slots that anybody may claim."""
        return self.slots - self.ended - self.leased

    @property
    def is_done(self) -> bool:
        """Whether every slot has ended."""
        return self.ended == self.slots


def add(engine: Engine, study_id: int, trials: int) -> None:
    """Raise the budget to ``trials`` slots; a larger budget stays as it is."""
    run(engine, sql.ADD, study_id=study_id, trials=trials)


def claim(engine: Engine, study_id: int, worker_id: int) -> Claim | None:
    """Take the next open slot, or return None where there is none at the moment."""
    arguments = {"study_id": study_id, "worker_id": worker_id, "seconds": LEASE_SECONDS}
    statements = chain([sql.CLAIM], repeat(sql.CLAIM_AGAIN))

    def take() -> Sequence[Row[Any]]:
        with engine.begin() as connection:
            return connection.exec_driver_sql(next(statements), arguments).all()

    rows = patiently(take)
    return Claim(study_id, rows[0].slot, rows[0].attempt, worker_id, rows[0].params, rows[0].trial_id) if rows else None


def beat(engine: Engine, held: Claim) -> None:
    """Prolong the lease, and write down that its worker is alive.

    Raises:
        LeaseLostError: the slot is somebody else's now.
    """
    _write(engine, sql.BEAT, held, seconds=LEASE_SECONDS)


def finish(engine: Engine, held: Claim, outcome: str) -> None:
    """End the slot for good. Raises LeaseLostError as `beat` does, and where it ended otherwise."""
    _write(engine, sql.FINISH, held, outcome=outcome)


def hand_back(engine: Engine, held: Claim) -> None:
    """Open the slot again, for whoever comes next.

    Raises:
        LeaseLostError: the slot is somebody else's now, or it is open already because only the answer was lost.
    """
    _write(engine, sql.HAND_BACK, held)


def count(engine: Engine, study_id: int) -> SlotCounts:
    """Return how far the study's budget is spent."""
    return SlotCounts(**run(engine, sql.COUNT, study_id=study_id)[0]._asdict())


def _write(engine: Engine, statement: str, held: Claim, **values: Any) -> None:
    if not run(engine, statement, **held.key, **values):
        raise LeaseLostError(f"slot {held.slot}, attempt {held.attempt}: the lease has passed on")
