"""End leases whose worker no longer beats: in one transaction the attempt fails and its slot is open again."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.engine import Engine, Row

from castpool.storage.budget import slots
from castpool.storage.budget.outcome import Outcome
from castpool.storage.connection.engine import retry_during_outage, transaction
from castpool.storage.sql import slots as sql
from castpool.storage.sql import workers

BATCH = 100
# How many attempts at one slot may be lost. A trial that crashes its worker must end some day.
MOST_LOST = 20


def reap(engine: Engine, study_id: int) -> list[int]:
    """End the expired leases of a study and return their slots. Any process may do this, at any time.

    The slots stay locked while their trials are failed: no crash leaves one without the other. A worker that resumes
    meanwhile waits for the lock and then finds its lease lost. A slot that was lost too often fails for good.
    """

    def end_expired() -> list[int]:
        study = {"study_id": study_id}
        with transaction(engine) as connection:
            expired = connection.exec_driver_sql(
                sql.EXPIRED, {**study, "batch": BATCH, "lease_seconds": slots.LEASE_SECONDS}
            ).all()
            if expired:
                reasons = [_format_reason(row) for row in expired]
                attached = [
                    (row.trial_id, reason) for row, reason in zip(expired, reasons, strict=True) if row.trial_id
                ]
                failed = {
                    "trial_ids": [trial_id for trial_id, _ in attached],
                    "reasons": [json.dumps(reason) for _, reason in attached],
                }
                connection.exec_driver_sql(sql.FAIL, failed)
                most = connection.exec_driver_sql(sql.MOST_LOST, {**study, "otherwise": MOST_LOST}).scalar_one()
                lost = {"slots": [row.slot for row in expired], "reasons": reasons, "most": most}
                outcomes = {"lost": Outcome.LOST, "failed": Outcome.FAILED}
                connection.exec_driver_sql(sql.SETTLE, {**study, **lost, **outcomes})
            return [row.slot for row in expired]

    return retry_during_outage(end_expired)


def _format_reason(row: Row[Any]) -> str:
    worker = f"worker {row.worker_id} ({row.host}, process {row.pid})" if row.worker_id is not None else "its worker"
    last_beat = f", last beat {row.silent_seconds:.0f} s before" if row.silent_seconds is not None else ""
    return f"lost: {worker} is gone{last_beat}; attempt {row.attempt}"


def reap_worker(engine: Engine, study_id: int, host: str, pid: int) -> list[int]:
    """End the leases of a worker process that is known to be dead, without waiting for them to expire.

    Returns:
        The slots of all leases that had expired, as `reap` does.
    """

    def expire() -> None:
        process = {"host": host, "pid": pid}
        with transaction(engine) as connection:
            connection.exec_driver_sql(sql.EXPIRE, {**process, "study_id": study_id})
            connection.exec_driver_sql(workers.LEAVE_BY_PROCESS, process)

    retry_during_outage(expire)
    return reap(engine, study_id)
