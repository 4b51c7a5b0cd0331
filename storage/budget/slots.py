"""The budget of trials: a study's slots, each claimed under a lease and ended once.

A slot is open, leased by a worker until ``lease_until`` by the server's clock, or ended. Every write names slot, worker
and attempt, so a worker whose lease was lost changes nothing and gets `LeaseLostError`. An expired lease stays its
worker's until a reaper ends it, so a late beat still saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, NamedTuple

from sqlalchemy.engine import Engine, Row

from castpool.storage.budget.kinds import COSTS, Budget, BudgetKind, read_budgets, why_over, why_spent
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.connection.engine import retry_during_outage, run
from castpool.storage.errors import LeaseLostError
from castpool.storage.sql import slots as sql

# The number of a study's first evaluation; trials are numbered from 0.
FIRST_EVALUATION = sql.FIRST_EVALUATION
# Every statement that depends on the length of a lease gets it from here, as a parameter.
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Claim:
    """A slot that a worker holds.

    Attributes:
        params: the parameters that its trial must have.
        task: what to evaluate; None of a slot that a trial fills.
        retry_of: the Optuna trial of the attempt before, if there was one.
        failures: how many attempts have ended by each class of failure.
        checkpoint: the artifact from which the attempt resumes, made after ``checkpoint_step`` training steps.
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
    task: Mapping[str, Any] | None = None

    @property
    def key(self) -> dict[str, int]:
        """What every write names."""
        names = ("study_id", "slot", "attempt", "worker_id")
        return {name: getattr(self, name) for name in names}


class Allowance(NamedTuple):
    """What the budgets beside the number of trials leave to a running trial or evaluation.

    Attributes:
        over: why it must stop though its lease holds: a budget is spent.
        seconds_left: until the passing time spends a budget; None where no budget counts time.
    """

    over: str | None
    seconds_left: float | None


@dataclass(frozen=True)
class SlotCounts:
    """How far the budgets are spent.

    Attributes:
        slots: trials that must end.
        ended: trials that have ended.
        leased: slots that a worker holds.
        stopped: why the study was stopped before its budgets were spent.
        budgets: those beside the number of trials, one of each kind.
        phase: of the study; None where nothing is evaluated after the search.
        evaluations: evaluations of finalists that are planned.
        evaluated: evaluations that have ended.
        evaluating: evaluations that a worker holds.
    """

    slots: int
    ended: int
    leased: int
    stopped: str | None = None
    budgets: tuple[Budget, ...] = field(default_factory=lambda: read_budgets(()))
    phase: Phase | None = None
    evaluations: int = 0
    evaluated: int = 0
    evaluating: int = 0

    @classmethod
    def from_row(cls, row: Row[Any]) -> SlotCounts:
        """Return the counts of a row of `sql.COUNT`."""
        names = ("slots", "ended", "leased", "stopped", "evaluations", "evaluated", "evaluating")
        counts = {name: getattr(row, name) for name in names}
        return cls(**counts, budgets=read_budgets(row.budgets), phase=Phase(row.phase) if row.phase else None)

    def budget(self, kind: BudgetKind) -> Budget:
        """Return the budget of a kind."""
        return next((budget for budget in self.budgets if budget.kind == kind), Budget(kind))

    @property
    def over(self) -> str | None:
        """Why no trial may begin though slots are open."""
        return why_over(self.stopped, self.budgets)

    @property
    def spent(self) -> float:
        """The share that is spent of the budget that will be spent first, from 0 to 1."""
        of_trials = self.ended / self.slots if self.slots else 0.0
        return min(max([of_trials, *(budget.share for budget in self.budgets)]), 1.0)

    @property
    def open(self) -> int:
        """The number of slots that a worker may claim."""
        return 0 if self.over else self.slots - self.ended - self.leased

    @property
    def is_searched(self) -> bool:
        """Whether every trial has ended, or another budget is spent."""
        return self.ended == self.slots or self.over is not None

    @property
    def is_judged(self) -> bool:
        """Whether the search is over, and with it the evaluation of its finalists where there is one."""
        return self.is_searched and self.phase in (None, Phase.DONE, Phase.BACKTEST)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: the study is judged, and no backtest of it runs."""
        return self.is_judged and self.phase != Phase.BACKTEST

    @property
    def open_evaluations(self) -> int:
        """The number of evaluations that a worker may claim; a spent budget does not stop a backtest."""
        is_stopped = self.phase != Phase.BACKTEST and why_spent(self.budgets) is not None
        return 0 if is_stopped else self.evaluations - self.evaluated - self.evaluating


def add(engine: Engine, study_id: int, trials: int) -> None:
    """Raise the budget to ``trials`` slots; a larger budget stays as it is."""
    run(engine, sql.ADD, study_id=study_id, trials=trials)


def claim(engine: Engine, study_id: int, worker_id: int) -> Claim | None:
    """Claim the next open slot of a trial; return None where none is open."""
    return _claim(engine, study_id, worker_id, sql.CLAIM, sql.CLAIM_AGAIN)


def claim_evaluation(engine: Engine, study_id: int, worker_id: int) -> Claim | None:
    """Claim the next open evaluation; return None where none is open."""
    return _claim(engine, study_id, worker_id, sql.CLAIM_EVALUATION, sql.CLAIM_EVALUATION_AGAIN)


def _claim(engine: Engine, study_id: int, worker_id: int, first: str, again: str) -> Claim | None:
    arguments = {"study_id": study_id, "worker_id": worker_id, **charge_arguments()}
    statements = chain([first], repeat(again))

    def take() -> Sequence[Row[Any]]:
        with engine.begin() as connection:
            return connection.exec_driver_sql(next(statements), arguments).all()

    for row in retry_during_outage(take):
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
            task=row.task,
        )
    return None


def beat(engine: Engine, held: Claim, step: int = 0) -> Allowance:
    """Prolong the lease, and record that its worker is alive and at which training step.

    Returns:
        What the study's other budgets leave to the trial.

    Raises:
        LeaseLostError: another worker has the slot's lease.
    """
    row = write_held(engine, sql.BEAT, held, step=step)
    budgets = read_budgets(row.budgets)
    left = [budget.seconds_left(is_evaluation=held.task is not None) for budget in budgets]
    over = why_over(row.stopped, budgets) if held.task is None else why_spent(budgets)
    return Allowance(over, min((seconds for seconds in left if seconds is not None), default=None))


def keep_checkpoint(engine: Engine, held: Claim, checkpoint: str, step: int) -> str | None:
    """Let the slot's next attempt resume from an artifact; return the artifact that it replaces.

    Raises:
        LeaseLostError: another worker has the slot's lease.
    """
    row = write_held(engine, sql.CHECKPOINT, held, checkpoint=checkpoint, step=step)
    return None if row.replaced == checkpoint else row.replaced


def stop_study(engine: Engine, study_id: int, reason: str, failures: int) -> bool:
    """Stop a study in which at least ``failures`` slots have ended, all of them failed for this reason.

    Returns:
        Whether the study was stopped by this call.
    """
    stopped = f"the first {failures} trials all failed: {reason}"
    values = {"reason": reason, "failures": failures, "stopped": stopped, "failed": Outcome.FAILED}
    return bool(run(engine, sql.STOP, study_id=study_id, **values))


def count(engine: Engine, study_id: int) -> SlotCounts:
    """Return how far the study's budgets are spent."""
    rows = run(engine, sql.COUNT, study_id=study_id)
    return SlotCounts.from_row(rows[0]) if rows else SlotCounts(0, 0, 0)


def charge_arguments() -> dict[str, Any]:
    """Return the arguments of every statement that charges a study's budgets with the work on a slot."""
    return {**COSTS, "lease_seconds": LEASE_SECONDS, "backtest": Phase.BACKTEST}


def write_held(engine: Engine, statement: str, held: Claim, **values: Any) -> Row[Any]:
    """Run a statement for a held slot, and return its row.

    Raises:
        LeaseLostError: another worker has the slot's lease.
    """
    rows = run(engine, statement, **held.key, **charge_arguments(), **values)
    if not rows:
        raise LeaseLostError(f"slot {held.slot}, attempt {held.attempt}: lease lost to another worker")
    return rows[0]
