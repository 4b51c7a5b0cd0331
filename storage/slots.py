"""The budget: a study's slots, claimed under a lease, ended once.

A slot is open (nobody's), leased (a worker's until ``lease_until``, by the server's clock) or ended. Every
write names slot, worker and attempt: one whose lease has passed on changes nothing and is told so. A lease that
has run out is still its worker's until a reaper takes it, so a beat that comes late but in time saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, NamedTuple

from sqlalchemy.engine import Engine, Row

from storage.engine import patiently, run
from storage.errors import LeaseLostError
from storage.sql import slots as sql

LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Claim:
    """A slot that a worker holds.

    Attributes:
        params: parameters that its trial is to have.
        retry_of: the Optuna trial of the attempt before, if there was one.
        failures: how many attempts have ended by each class of failure.
        checkpoint: the artifact from which to go on, made after ``checkpoint_step`` training steps.
    """

    study_id: int
    slot: int
    attempt: int
    worker_id: int
    params: Mapping[str, Any] | None = None
    retry_of: int | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    checkpoint: str | None = None
    checkpoint_step: int = 0

    @property
    def key(self) -> dict[str, int]:
        """What every write names."""
        names = ("study_id", "slot", "attempt", "worker_id")
        return {name: getattr(self, name) for name in names}


class Allowance(NamedTuple):
    """What the budgets beside the number of trials leave to a trial that runs.

    Attributes:
        over: why it is to stop though its lease holds: one of them is spent.
        seconds_left: of the budget of time, if there is one.
    """

    over: str | None
    seconds_left: float | None


@dataclass(frozen=True)
class SlotCounts:
    """How far the budgets are spent.

    Attributes:
        slots: trials that are to end.
        ended: those that have ended.
        leased: those that somebody works on.
        over: why no trial may begin though slots are open.
        steps: training steps of all attempts, of ``budget_steps`` where there is such a budget.
        seconds: how long somebody has worked on it, of ``budget_seconds``.
    """

    slots: int
    ended: int
    leased: int
    over: str | None = None
    steps: int = 0
    budget_steps: int | None = None
    seconds: float = 0.0
    budget_seconds: float | None = None

    @property
    def spent(self) -> float:
        """The share that is spent of the budget that will be reached first, from 0 to 1."""
        shares = [self.ended / self.slots if self.slots else 0.0]
        shares += [self.steps / self.budget_steps] if self.budget_steps else []
        shares += [self.seconds / self.budget_seconds] if self.budget_seconds else []
        return min(max(shares), 1.0)

    @property
    def open(self) -> int:
        """Slots that anybody may claim."""
        return 0 if self.over else self.slots - self.ended - self.leased

    @property
    def is_done(self) -> bool:
        """Whether every slot has ended, or another budget is spent."""
        return self.ended == self.slots or self.over is not None


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

    for row in patiently(take):
        return Claim(
            study_id,
            row.slot,
            row.attempt,
            worker_id,
            row.params,
            retry_of=row.trial_id,
            failures=row.failures,
            checkpoint=row.checkpoint,
            checkpoint_step=row.checkpoint_step or 0,
        )
    return None


def beat(engine: Engine, held: Claim, step: int = 0) -> Allowance:
    """Prolong the lease, and write down that its worker is alive and how far its training has come.

    Returns:
        What the study's other budgets leave to it.

    Raises:
        LeaseLostError: the slot is somebody else's now.
    """
    row = _write(engine, sql.BEAT, held, seconds=LEASE_SECONDS, step=step)
    return Allowance(row.over, row.seconds_left)


def keep_checkpoint(engine: Engine, held: Claim, checkpoint: str, step: int) -> str | None:
    """Let the slot's next attempt go on from an artifact; return the one that it replaces.

    Raises:
        LeaseLostError: the slot is somebody else's now.
    """
    row = _write(engine, sql.CHECKPOINT, held, checkpoint=checkpoint, step=step)
    return None if row.replaced == checkpoint else row.replaced


def stop_study(engine: Engine, study_id: int, reason: str, failures: int) -> bool:
    """End a study in which nothing has ended but by this reason, so many times; return whether that is so."""
    stopped = f"the first {failures} trials all failed: {reason}"
    return bool(run(engine, sql.STOP, study_id=study_id, reason=reason, failures=failures, stopped=stopped))


def count(engine: Engine, study_id: int) -> SlotCounts:
    """Return how far the study's budget is spent."""
    rows = run(engine, sql.COUNT, study_id=study_id)
    return SlotCounts(**rows[0]._asdict()) if rows else SlotCounts(0, 0, 0)


def _write(engine: Engine, statement: str, held: Claim, **values: Any) -> Row[Any]:
    rows = run(engine, statement, **held.key, **values)
    if not rows:
        raise LeaseLostError(f"slot {held.slot}, attempt {held.attempt}: the lease has passed on")
    return rows[0]
