"""Ending leases whose worker no longer beats: the attempt failed, the slot is open again, in one transaction."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.engine import Engine, Row

from storage.engine import patiently, transaction
from storage.slots import LEASE_SECONDS
from storage.sql import slots as sql
from storage.sql import workers

BATCH = 100
# How many attempts at one slot may be lost. A trial that takes its worker with it must end some day.
MOST_LOST = 20


def reap(engine: Engine, study_id: int) -> list[int]:
    """End the expired leases of a study and return their slots. Any process may do this, at any time.

    The slots stay locked while their trials are failed, so no crash lies between the two, and a worker that
    comes back waits and then finds its lease gone. A slot that was lost too often fails for good.
    """

    def end_expired() -> list[int]:
        study = {"study_id": study_id}
        with transaction(engine) as connection:
            expired = connection.exec_driver_sql(
                sql.EXPIRED, {**study, "batch": BATCH, "return_seconds": LEASE_SECONDS}
            ).all()
            slots = [row.slot for row in expired]
            if slots:
                reasons = [_why(row) for row in expired]
                attached = [(row.trial_id, why) for row, why in zip(expired, reasons, strict=True) if row.trial_id]
                failed = {
                    "trial_ids": [trial_id for trial_id, _ in attached],
                    "reasons": [json.dumps(why) for _, why in attached],
                }
                connection.exec_driver_sql(sql.FAIL, failed)
                most = connection.exec_driver_sql(sql.MOST_LOST, {**study, "otherwise": MOST_LOST}).scalar_one()
                connection.exec_driver_sql(sql.SETTLE, {**study, "slots": slots, "reasons": reasons, "most": most})
            return slots

    return patiently(end_expired)


def _why(row: Row[Any]) -> str:
    who = f"worker {row.worker_id} ({row.host}, process {row.pid})" if row.worker_id is not None else "its worker"
    heard = f", last heard of {row.silent_seconds:.0f} s before" if row.silent_seconds is not None else ""
    return f"lost: {who} is gone{heard}; attempt {row.attempt}"


def reap_worker(engine: Engine, study_id: int, host: str, pid: int) -> list[int]:
    """End the leases of a worker process that is known to be dead, without waiting for them to expire.

    Returns the slots of all leases that were over, as `reap` does.
    """

    def expire() -> None:
        who = {"host": host, "pid": pid}
        with transaction(engine) as connection:
            connection.exec_driver_sql(sql.EXPIRE, {**who, "study_id": study_id})
            connection.exec_driver_sql(workers.LEAVE_BY_PROCESS, who)

    patiently(expire)
    return reap(engine, study_id)
