"""Statistics of a study: its attempts, their time and memory."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from castpool.storage.budget import slots
from castpool.storage.connection.engine import run
from castpool.storage.sql import statistics as sql


@dataclass(frozen=True)
class Tally:
    """Numbers of ended attempts, with their time and memory; None before there is a value.

    Attributes:
        failed: attempts that failed by themselves: without those that were released, or lost with their worker.
        median_seconds: median duration of the pruned and complete attempts.
        memory_mb: peak memory of a worker.
        training_seconds: time that all attempts spent in training.
        working_seconds: time that all workers were present.
        runs: attempts that are complete in MLflow; None without MLflow.
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
    """Return the workers' time in seconds by phase, over all ended attempts."""
    return {row.phase: row.seconds for row in run(engine, sql.PHASES, study_id=study_id)}


def tally(engine: Engine, study_id: int) -> Tally:
    """Return the statistics of now."""
    rows = run(engine, sql.MEASURES, study_id=study_id, lease_seconds=slots.LEASE_SECONDS)
    return Tally(**rows[0]._asdict())
