"""How a study's run is going, as the storage sees it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from storage.engine import run
from storage.sql import measures as sql


@dataclass(frozen=True)
class Tally:
    """Numbers of attempts that have ended, and what they took; None where there is nothing to measure yet.

    Attributes:
        failed: attempts that failed by themselves: not those that were handed back, or lost with their worker.
        median_seconds: of an attempt that was pruned or complete.
        memory_mb: the most that a worker took.
        training_seconds: what all attempts spent training.
        working_seconds: what all workers spent being there.
        runs: attempts of which MLflow has everything; None where it was never told.
    """

    attempts: int
    complete: int
    pruned: int
    failed: int
    median_seconds: float | None
    longest_seconds: float | None
    memory_mb: float | None
    training_seconds: float
    working_seconds: float
    runs: int | None


def phases(engine: Engine, study_id: int) -> dict[str, float]:
    """Return what the workers' time went into: seconds by phase, over all attempts that have ended."""
    return {own.phase: own.seconds for own in run(engine, sql.PHASES, study_id=study_id)}


def tally(engine: Engine, study_id: int) -> Tally:
    """Return the study's present numbers."""
    return Tally(**run(engine, sql.MEASURES, study_id=study_id)[0]._asdict())
