"""Who works on a study: a row a worker process, with its last beat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.engine import Engine

from storage.engine import patiently
from storage.slots import LEASE_SECONDS

JOIN = text("""
INSERT INTO castpool_workers (study_id, host, pid) VALUES (:study_id, :host, :pid) RETURNING worker_id
""")
BEAT = text("UPDATE castpool_workers SET last_beat = now() WHERE worker_id = :worker_id")
LEAVE = text("UPDATE castpool_workers SET left_at = now() WHERE worker_id = :worker_id AND left_at IS NULL")
PRESENT = text("""
SELECT DISTINCT ON (w.worker_id) w.worker_id, w.host, w.pid, w.joined_at,
       extract(epoch FROM now() - w.last_beat)::float AS silent_seconds, s.slot
  FROM castpool_workers w
  LEFT JOIN castpool_slots s ON s.worker_id = w.worker_id AND s.ended_at IS NULL
 WHERE w.study_id = :study_id AND w.left_at IS NULL
   AND (s.slot IS NOT NULL OR w.last_beat > now() - make_interval(secs => :lease_seconds))
 ORDER BY w.worker_id, s.slot DESC
""")


@dataclass(frozen=True)
class Present:
    """A worker that has not left: where it runs, since when, and the slot that it holds."""

    worker_id: int
    host: str
    pid: int
    joined_at: datetime
    silent_seconds: float
    slot: int | None


def join(engine: Engine, study_id: int, host: str, pid: int) -> int:
    """Enter a worker and return its number, which no other worker ever had."""

    def enter() -> int:
        with engine.begin() as connection:
            return int(connection.execute(JOIN, {"study_id": study_id, "host": host, "pid": pid}).scalar_one())

    return patiently(enter)


def beat(engine: Engine, worker_id: int) -> None:
    """Write down that the worker is alive."""
    _write(engine, BEAT, worker_id)


def leave(engine: Engine, worker_id: int) -> None:
    """Write down that the worker has gone of its own accord."""
    _write(engine, LEAVE, worker_id)


def present(engine: Engine, study_id: int) -> list[Present]:
    """Return the study's workers that have not left.

    One without a slot that is silent for longer than a lease is gone: without work, it would beat every second.
    """

    def read() -> list[Present]:
        with engine.connect() as connection:
            rows = connection.execute(PRESENT, {"study_id": study_id, "lease_seconds": LEASE_SECONDS})
            return [Present(*row) for row in rows]

    return patiently(read)


def _write(engine: Engine, statement: TextClause, worker_id: int) -> None:
    def write() -> None:
        with engine.begin() as connection:
            connection.execute(statement, {"worker_id": worker_id})

    patiently(write)
