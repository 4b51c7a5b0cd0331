"""The budget: a study's slots, claimed under a lease, ended once.

A slot is open (nobody's), leased (a worker's until ``lease_until``, by the server's clock) or ended. Every
write names slot, worker and attempt: one whose lease has passed on changes nothing and is told so. A lease that
has run out is still its worker's until a reaper takes it, so a beat that comes late but in time saves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.engine import Engine

from storage.engine import patiently
from storage.errors import LeaseLostError

LEASE_SECONDS = 60.0

ADD = text("""
INSERT INTO castpool_slots (study_id, slot)
SELECT :study_id, generate_series(0, :trials - 1) ON CONFLICT DO NOTHING
""")

# A claim whose answer was lost expires like that of a dead worker.
CLAIM = text("""
UPDATE castpool_slots
   SET worker_id = :worker_id, attempt = attempt + 1, lease_until = now() + make_interval(secs => :seconds)
 WHERE (study_id, slot) = (
        SELECT study_id, slot FROM castpool_slots
         WHERE study_id = :study_id AND ended_at IS NULL AND lease_until IS NULL
         ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING slot, attempt, params, trial_id
""")


def _fenced(write: str, condition: str = "ended_at IS NULL") -> TextClause:
    held = "study_id = :study_id AND slot = :slot AND worker_id = :worker_id AND attempt = :attempt"
    return text(f"{write} WHERE {held} AND {condition}")


# The lease, the worker, and Optuna's own heartbeat for whoever watches with Optuna, in the session's time zone.
BEAT = text("""
WITH held AS (
    UPDATE castpool_slots SET lease_until = now() + make_interval(secs => :seconds)
     WHERE study_id = :study_id AND slot = :slot AND worker_id = :worker_id AND attempt = :attempt AND ended_at IS NULL
    RETURNING worker_id, trial_id)
, worker AS (UPDATE castpool_workers w SET last_beat = now() FROM held WHERE w.worker_id = held.worker_id)
, heart AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat)
    SELECT t.trial_id, localtimestamp FROM held JOIN trials t USING (trial_id) WHERE t.state = 'RUNNING'
    ON CONFLICT (trial_id) DO UPDATE SET heartbeat = EXCLUDED.heartbeat)
SELECT 1 FROM held
""")
# Repeated after a lost answer it finds its own work and changes nothing.
FINISH = _fenced(
    "UPDATE castpool_slots SET ended_at = coalesce(ended_at, now()), outcome = :outcome, lease_until = NULL",
    "(ended_at IS NULL OR outcome = :outcome)",
)
HAND_BACK = _fenced("UPDATE castpool_slots SET worker_id = NULL, lease_until = NULL")

COUNT = text("""
SELECT count(*) AS slots,
       count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended,
       count(*) FILTER (WHERE ended_at IS NULL AND lease_until IS NOT NULL) AS leased
  FROM castpool_slots WHERE study_id = :study_id
""")


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

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(ADD, {"study_id": study_id, "trials": trials})

    patiently(write)


def claim(engine: Engine, study_id: int, worker_id: int) -> Claim | None:
    """Take the next open slot, or return None where there is none at the moment."""

    def take() -> Claim | None:
        arguments = {"study_id": study_id, "worker_id": worker_id, "seconds": LEASE_SECONDS}
        with engine.begin() as connection:
            row = connection.execute(CLAIM, arguments).one_or_none()
        return None if row is None else Claim(study_id, row.slot, row.attempt, worker_id, row.params, row.trial_id)

    return patiently(take)


def beat(engine: Engine, held: Claim) -> None:
    """Prolong the lease, and write down that its worker is alive.

    Raises:
        LeaseLostError: the slot is somebody else's now.
    """
    _write(engine, BEAT, held, seconds=LEASE_SECONDS)


def finish(engine: Engine, held: Claim, outcome: str) -> None:
    """End the slot for good. Raises LeaseLostError as `beat` does, and where it ended otherwise."""
    _write(engine, FINISH, held, outcome=outcome)


def hand_back(engine: Engine, held: Claim) -> None:
    """Open the slot again, for whoever comes next.

    Raises:
        LeaseLostError: the slot is somebody else's now, or it is open already because only the answer was lost.
    """
    _write(engine, HAND_BACK, held)


def count(engine: Engine, study_id: int) -> SlotCounts:
    """Return how far the study's budget is spent."""

    def read() -> SlotCounts:
        with engine.connect() as connection:
            return SlotCounts(*connection.execute(COUNT, {"study_id": study_id}).one())

    return patiently(read)


def _write(engine: Engine, statement: TextClause, held: Claim, **values: Any) -> None:
    def write() -> int:
        with engine.begin() as connection:
            return connection.execute(statement, {**held.key, **values}).rowcount

    if patiently(write) == 0:
        raise LeaseLostError(f"slot {held.slot}, attempt {held.attempt}: the lease has passed on")
