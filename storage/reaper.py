"""Ending leases whose worker no longer beats: the attempt failed, the slot is open again, in one transaction."""

from __future__ import annotations

import json

from sqlalchemy import text
from sqlalchemy.engine import Engine

from storage.engine import patiently, transaction
from storage.slots import LEASE_SECONDS

BATCH = 100
LOST = "lost: the worker stopped beating"

# A worker that has not been heard since the server started may be on its way back: nobody could beat meanwhile.
EXPIRED = text("""
SELECT slot, trial_id FROM castpool_slots s
 WHERE study_id = :study_id AND ended_at IS NULL AND lease_until < now()
   AND NOT EXISTS (
       SELECT FROM castpool_workers w
        WHERE w.worker_id = s.worker_id AND w.left_at IS NULL AND w.last_beat < pg_postmaster_start_time()
          AND now() < pg_postmaster_start_time() + make_interval(secs => :return_seconds))
 ORDER BY slot LIMIT :batch FOR UPDATE SKIP LOCKED
""")

# Optuna keeps UTC without a zone.
FAIL = text("""
WITH failed AS (
    UPDATE trials SET state = 'FAIL', datetime_complete = now() AT TIME ZONE 'utc'
     WHERE trial_id = ANY(:trial_ids) AND state = 'RUNNING' RETURNING trial_id
)
INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, 'reason', :reason FROM failed
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
""")

# By now every trial of these slots has ended. A slot whose trial was told before its worker died ends as it was told.
SETTLE = text("""
UPDATE castpool_slots s
   SET lease_until = NULL, outcome = lower(told.state::text),
       worker_id = CASE WHEN told.state IS NOT NULL THEN s.worker_id END,
       ended_at = CASE WHEN told.state IS NOT NULL THEN now() END
  FROM castpool_slots own
  LEFT JOIN trials told ON told.trial_id = own.trial_id AND told.state IN ('COMPLETE', 'PRUNED')
 WHERE s.study_id = :study_id AND s.slot = ANY(:slots) AND own.study_id = s.study_id AND own.slot = s.slot
""")

# Those that have left too: a worker that ends by an error leaves the roster, but not its slot.
EXPIRE = text("""
UPDATE castpool_slots SET lease_until = now() - interval '1 second'
 WHERE ended_at IS NULL AND lease_until IS NOT NULL AND study_id = :study_id
   AND worker_id IN (SELECT worker_id FROM castpool_workers WHERE host = :host AND pid = :pid)
""")

LEAVE = text("UPDATE castpool_workers SET left_at = now() WHERE host = :host AND pid = :pid AND left_at IS NULL")


def reap(engine: Engine, study_id: int) -> list[int]:
    """End the expired leases of a study and return their slots. Any process may do this, at any time.

    The slots stay locked while their trials are failed, so no crash lies between the two, and a worker that
    comes back waits and then finds its lease gone.
    """

    def end_expired() -> list[int]:
        study = {"study_id": study_id}
        with transaction(engine) as connection:
            expired = connection.execute(EXPIRED, {**study, "batch": BATCH, "return_seconds": LEASE_SECONDS}).all()
            slots = [row.slot for row in expired]
            if slots:
                attached = [row.trial_id for row in expired if row.trial_id is not None]
                connection.execute(FAIL, {"trial_ids": attached, "reason": json.dumps(LOST)})
                connection.execute(SETTLE, {**study, "slots": slots})
            return slots

    return patiently(end_expired)


def reap_worker(engine: Engine, study_id: int, host: str, pid: int) -> list[int]:
    """End the leases of a worker process that is known to be dead, without waiting for them to expire.

    Returns the slots of all leases that were over, as `reap` does.
    """

    def expire() -> None:
        who = {"host": host, "pid": pid}
        with transaction(engine) as connection:
            connection.execute(EXPIRE, {**who, "study_id": study_id})
            connection.execute(LEAVE, who)

    patiently(expire)
    return reap(engine, study_id)
