"""The workers of a study: a row for each worker process, with its last beat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Engine

from castpool.storage.budget import slots
from castpool.storage.connection.engine import run
from castpool.storage.sql import workers as sql


@dataclass(frozen=True)
class ActiveWorker:
    """A worker that has not left: its process, since when, and the slot, its kind, attempt and training step."""

    worker_id: int
    host: str
    pid: int
    joined_at: datetime
    silent_seconds: float
    slot: int | None
    attempt: int | None
    step: int | None
    kind: str | None


def join(engine: Engine, study_id: int, host: str, pid: int) -> int:
    """Register a worker and return its number, which is never used again."""
    return int(run(engine, sql.JOIN, study_id=study_id, host=host, pid=pid)[0].worker_id)


def beat(engine: Engine, worker_id: int) -> None:
    """Record that the worker is alive."""
    run(engine, sql.BEAT, worker_id=worker_id)


def leave(engine: Engine, worker_id: int) -> None:
    """Record that the worker has left by itself."""
    run(engine, sql.LEAVE, worker_id=worker_id)


def present(engine: Engine, study_id: int) -> list[ActiveWorker]:
    """Return the study's workers that have not left.

    A worker without a slot beats every second, so one that is silent for longer than a lease is dead and left out.
    """
    rows = run(engine, sql.PRESENT, study_id=study_id, lease_seconds=slots.LEASE_SECONDS)
    return [ActiveWorker(**row._asdict()) for row in rows]
