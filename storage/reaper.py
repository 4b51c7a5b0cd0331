"""Ending leases whose worker no longer beats: the attempt failed, the slot is open again, in one transaction."""

from __future__ import annotations

import json

from sqlalchemy.engine import Engine

from storage.engine import patiently, transaction
from storage.slots import LEASE_SECONDS
from storage.sql import slots as sql
from storage.sql import workers

BATCH = 100
LOST = "lost: the worker stopped beating"


def reap(engine: Engine, study_id: int) -> list[int]:
    """End the expired leases of a study and return their slots. Any process may do this, at any time.

    The slots stay locked while their trials are failed, so no crash lies between the two, and a worker that
    comes back waits and then finds its lease gone.
    """

    def end_expired() -> list[int]:
        study = {"study_id": study_id}
        with transaction(engine) as connection:
            expired = connection.exec_driver_sql(
                sql.EXPIRED, {**study, "batch": BATCH, "return_seconds": LEASE_SECONDS}
            ).all()
            slots = [row.slot for row in expired]
            if slots:
                attached = [row.trial_id for row in expired if row.trial_id is not None]
                connection.exec_driver_sql(sql.FAIL, {"trial_ids": attached, "reason": json.dumps(LOST)})
                connection.exec_driver_sql(sql.SETTLE, {**study, "slots": slots})
            return slots

    return patiently(end_expired)


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
