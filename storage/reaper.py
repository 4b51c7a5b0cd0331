"""Ending leases whose worker no longer beats: the attempt failed, the slot is open again, in one transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.engine import Engine

from storage.engine import patiently

BATCH = 100

# One statement, so that no crash lies between failing the attempt and opening the slot. A trial that had
# been told but whose slot was not ended yet ends it now; the slots are locked before the trials.
REAP = text("""
WITH expired AS (
    SELECT study_id, slot, trial_id FROM castpool_slots
     WHERE study_id = :study_id AND ended_at IS NULL AND lease_until < now()
     ORDER BY slot LIMIT :batch FOR UPDATE SKIP LOCKED
), told AS (
    SELECT expired.slot, trials.state::text AS state FROM expired JOIN trials USING (trial_id)
     WHERE trials.state IN ('COMPLETE', 'PRUNED')
), failed AS (
    UPDATE trials SET state = 'FAIL', datetime_complete = :now FROM expired
     WHERE trials.trial_id = expired.trial_id AND trials.state = 'RUNNING' RETURNING trials.trial_id
), noted AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, 'reason', '"lost: the worker stopped beating"' FROM failed
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
)
UPDATE castpool_slots AS own
   SET lease_until = NULL, worker_id = CASE WHEN told.slot IS NULL THEN NULL ELSE own.worker_id END,
       ended_at = CASE WHEN told.slot IS NULL THEN NULL ELSE now() END, outcome = lower(told.state)
  FROM expired LEFT JOIN told USING (slot)
 WHERE own.study_id = expired.study_id AND own.slot = expired.slot
RETURNING own.slot
""")

EXPIRE = text("""
UPDATE castpool_slots SET lease_until = now() - interval '1 second'
 WHERE ended_at IS NULL AND lease_until IS NOT NULL AND study_id = :study_id
   AND worker_id IN (SELECT worker_id FROM castpool_workers WHERE host = :host AND pid = :pid AND left_at IS NULL)
""")

LEAVE = text("UPDATE castpool_workers SET left_at = now() WHERE host = :host AND pid = :pid AND left_at IS NULL")


def reap(engine: Engine, study_id: int) -> list[int]:
    """End the expired leases of a study and return their slots. Any process may do this, at any time."""

    def end_expired() -> list[int]:
        # Optuna keeps local time without a zone; the lease itself is judged by the server's clock.
        arguments = {"study_id": study_id, "batch": BATCH, "now": datetime.now()}
        with engine.begin() as connection:
            return sorted(connection.execute(REAP, arguments).scalars())

    return patiently(end_expired)


def reap_worker(engine: Engine, study_id: int, host: str, pid: int) -> list[int]:
    """End the leases of a worker process that is known to be dead, without waiting for them to expire."""

    def expire() -> None:
        who = {"host": host, "pid": pid}
        with engine.begin() as connection:
            connection.execute(EXPIRE, {**who, "study_id": study_id})
            connection.execute(LEAVE, who)

    patiently(expire)
    return reap(engine, study_id)
