"""Evaluations: slots in which the finalists of a study are judged again, claimed and leased as those of trials.

A study with a phase goes from the search to the verification, the holdout, and its end. Whichever worker finds a phase
at its end plans the next one; the statement that enters it is the decision, so that it is planned once. A backtest is
entered from the end, by the command that asks for it, and leads back there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine

from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.slots import Claim, write_held
from castpool.storage.connection.engine import retry_during_outage, run, transaction
from castpool.storage.sql import phases, slots


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its task, and once it has ended its outcome and the artifact with its forecasts."""

    task: Mapping[str, Any]
    outcome: Outcome | None
    reason: str | None
    result: str | None


def enter_phase(
    engine: Engine,
    study_id: int,
    before: Phase,
    phase: Phase,
    tasks: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any] | None,
) -> bool:
    """Enter a phase with its tasks, in one transaction, and drop what is open of the phase before.

    A task that was evaluated before, in this phase or an earlier search, is not evaluated again; of a backtest, where
    it did not fail.

    Args:
        engine: the database.
        study_id: the study.
        before: the phase that ends; `Phase.DONE` is also that of a study without phases whose search is over.
        phase: the phase that begins; a backtest may begin again while one runs, with other tasks.
        tasks: what to evaluate in it, as JSON values, the most important first.
        record: what was selected so far, as JSON values; None keeps what is stored.

    Returns:
        Whether this call entered it: no worker held a slot of the study, and no other process was first.
    """
    arguments = {"study_id": study_id, "before": before, "phase": phase}
    arguments |= {"done": Phase.DONE, "backtest": Phase.BACKTEST, "failed": Outcome.FAILED}
    content = {
        "tasks": json.dumps([dict(task) for task in tasks]),
        "record": None if record is None else json.dumps(dict(record)),
    }

    def enter() -> bool:
        with transaction(engine) as connection:
            if not connection.exec_driver_sql(phases.ENTER_PHASE, {**arguments, **content}).all():
                return False
            connection.exec_driver_sql(phases.DROP_OPEN_EVALUATIONS, arguments)
            if tasks:
                connection.exec_driver_sql(phases.ADD_EVALUATIONS, {**arguments, **content})
            return True

    return retry_during_outage(enter)


def end_evaluation(
    engine: Engine,
    held: Claim,
    outcome: Outcome | None,
    *,
    result: str | None = None,
    step: int = 0,
    failure: str | None = None,
    reason: str | None = None,
    seconds: Mapping[str, float] | None = None,
) -> None:
    """End an evaluation, or without an outcome open its slot again.

    Args:
        engine: the database.
        held: the slot.
        outcome: how the evaluation ends.
        result: the artifact with its forecasts.
        step: the training steps that were done.
        failure: the class of the failure, which is counted.
        reason: why, as a sentence for the user.
        seconds: the worker's time by phase.

    Raises:
        LeaseLostError: another worker has the slot's lease.
    """
    ending = {"outcome": outcome, "result": result, "step": step, "failure": failure, "reason": reason}
    content = json.dumps(dict(seconds or {}))
    write_held(engine, slots.END_EVALUATION, held, **ending, seconds=content, keeps_checkpoint=False)


def read_evaluations(engine: Engine, study_id: int) -> list[Evaluation]:
    """Return all evaluations of a study, in the order in which they were planned."""
    rows = run(engine, phases.EVALUATIONS, study_id=study_id)
    return [
        Evaluation(row.task, None if row.outcome is None else Outcome(row.outcome), row.reason, row.result)
        for row in rows
    ]


def read_record(engine: Engine, study_id: int) -> tuple[Phase | None, Mapping[str, Any]]:
    """Return the phase of a study, and what was selected so far."""
    (row,) = run(engine, phases.RECORD, study_id=study_id)
    return (Phase(row.phase) if row.phase else None), row.evaluation or {}
