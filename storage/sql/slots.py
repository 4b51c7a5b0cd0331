"""The budget: a study's slots.

Every write of a worker names slot, worker and attempt, so that one whose lease has passed on changes nothing.
"""

from __future__ import annotations

ADD = """
INSERT INTO castpool_slots (study_id, slot)
SELECT %(study_id)s, generate_series(0, %(trials)s - 1) ON CONFLICT DO NOTHING
"""

# The parameters of the first slot, the model's defaults.
FIRST_PARAMS = """
UPDATE castpool_slots SET params = cast(%(params)s AS jsonb)
 WHERE study_id = %(study_id)s AND slot = 0 AND attempt = 0
"""

_CLAIM = """
UPDATE castpool_slots
   SET worker_id = %(worker_id)s, attempt = attempt + CASE WHEN lease_until IS NULL THEN 1 ELSE 0 END,
       lease_until = now() + make_interval(secs => %(seconds)s)
 WHERE (study_id, slot) = (
        SELECT study_id, slot FROM castpool_slots s
         WHERE study_id = %(study_id)s AND ended_at IS NULL AND ({candidates})
         ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING slot, attempt, params, trial_id
"""
CLAIM = _CLAIM.format(candidates="lease_until IS NULL", order="slot")

# After an answer was lost: the slot may be the worker's already. All others that it holds have a running trial.
CLAIM_AGAIN = _CLAIM.format(
    candidates="""lease_until IS NULL OR (worker_id = %(worker_id)s AND NOT EXISTS (
               SELECT FROM trials t WHERE t.trial_id = s.trial_id AND t.state = 'RUNNING'))""",
    order="lease_until IS NULL, slot",
)

HELD = "study_id = %(study_id)s AND slot = %(slot)s AND worker_id = %(worker_id)s AND attempt = %(attempt)s"

# The lease, the worker, and Optuna's own heartbeat for whoever watches with Optuna, in the session's time zone.
BEAT = f"""
WITH held AS (
    UPDATE castpool_slots SET lease_until = now() + make_interval(secs => %(seconds)s)
     WHERE {HELD} AND ended_at IS NULL RETURNING worker_id, trial_id)
, worker AS (UPDATE castpool_workers w SET last_beat = now() FROM held WHERE w.worker_id = held.worker_id)
, heart AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat)
    SELECT t.trial_id, localtimestamp FROM held JOIN trials t USING (trial_id) WHERE t.state = 'RUNNING'
    ON CONFLICT (trial_id) DO UPDATE SET heartbeat = EXCLUDED.heartbeat)
SELECT 1 FROM held
"""

# Repeated after a lost answer it finds its own work and changes nothing.
FINISH = f"""
UPDATE castpool_slots SET ended_at = coalesce(ended_at, now()), outcome = %(outcome)s, lease_until = NULL
 WHERE {HELD} AND (ended_at IS NULL OR outcome = %(outcome)s) RETURNING slot
"""

HAND_BACK = f"""
UPDATE castpool_slots SET worker_id = NULL, lease_until = NULL WHERE {HELD} AND ended_at IS NULL RETURNING slot
"""

COUNT = """
SELECT count(*) AS slots,
       count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended,
       count(*) FILTER (WHERE ended_at IS NULL AND lease_until IS NOT NULL) AS leased
  FROM castpool_slots WHERE study_id = %(study_id)s
"""

# A worker that has not been heard since the server started may be on its way back: nobody could beat meanwhile.
EXPIRED = """
SELECT slot, trial_id FROM castpool_slots s
 WHERE study_id = %(study_id)s AND ended_at IS NULL AND lease_until < now()
   AND NOT EXISTS (
       SELECT FROM castpool_workers w
        WHERE w.worker_id = s.worker_id AND w.left_at IS NULL AND w.last_beat < pg_postmaster_start_time()
          AND now() < pg_postmaster_start_time() + make_interval(secs => %(return_seconds)s))
 ORDER BY slot LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""

# Optuna keeps UTC without a zone.
FAIL = """
WITH failed AS (
    UPDATE trials SET state = 'FAIL', datetime_complete = now() AT TIME ZONE 'utc'
     WHERE trial_id = ANY(%(trial_ids)s) AND state = 'RUNNING' RETURNING trial_id
)
INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, 'reason', %(reason)s FROM failed
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
"""

# By now every trial of these slots has ended. A slot whose trial was told before its worker died ends as it was told.
SETTLE = """
UPDATE castpool_slots s
   SET lease_until = NULL, outcome = lower(told.state::text),
       worker_id = CASE WHEN told.state IS NOT NULL THEN s.worker_id END,
       ended_at = CASE WHEN told.state IS NOT NULL THEN now() END
  FROM castpool_slots own
  LEFT JOIN trials told ON told.trial_id = own.trial_id AND told.state IN ('COMPLETE', 'PRUNED')
 WHERE s.study_id = %(study_id)s AND s.slot = ANY(%(slots)s) AND own.study_id = s.study_id AND own.slot = s.slot
"""

# Those that have left too: a worker that ends by an error leaves the roster, but not its slot.
EXPIRE = """
UPDATE castpool_slots SET lease_until = now() - interval '1 second'
 WHERE ended_at IS NULL AND lease_until IS NOT NULL AND study_id = %(study_id)s
   AND worker_id IN (SELECT worker_id FROM castpool_workers WHERE host = %(host)s AND pid = %(pid)s)
"""
