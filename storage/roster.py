"""Who works on a study: a row a worker process, with its last beat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Engine

from storage.engine import run
from storage.slots import LEASE_SECONDS
from storage.sql import workers as sql


@dataclass(frozen=True)
class Present:
    """A worker that has not left: where it runs, since when, the slot that it holds, and how far it has come there."""

    worker_id: int
    host: str
    pid: int
    joined_at: datetime
    silent_seconds: float
    slot: int | None
    attempt: int | None
    step: int | None


def join(engine: Engine, study_id: int, host: str, pid: int) -> int:
    """Enter a worker and return its number, which no other worker ever had."""
    return int(run(engine, sql.JOIN, study_id=study_id, host=host, pid=pid)[0].worker_id)


def beat(engine: Engine, worker_id: int) -> None:
    """Write down that the worker is alive."""
    run(engine, sql.BEAT, worker_id=worker_id)


def leave(engine: Engine, worker_id: int) -> None:
    """Write down that the worker has gone of its own accord."""
    run(engine, sql.LEAVE, worker_id=worker_id)


def present(engine: Engine, study_id: int) -> list[Present]:
    """Return the study's workers that have not left.

    One without a slot that is silent for longer than a lease is gone: without work, it would beat every second.
    """
    rows = run(engine, sql.PRESENT, study_id=study_id, lease_seconds=LEASE_SECONDS)
    return [Present(**row._asdict()) for row in rows]
