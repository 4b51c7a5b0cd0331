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

# Why nobody may begin a trial any more though slots are open; NULL while anybody may.
LIMIT = """
CASE WHEN c.stopped IS NOT NULL THEN c.stopped
     WHEN c.steps >= c.budget_steps THEN format('the budget of %%s training steps is spent', c.budget_steps)
     WHEN c.seconds >= c.budget_seconds THEN format('the budget of %%s seconds is spent', c.budget_seconds)
END
"""

_CLAIM = f"""
UPDATE castpool_slots
   SET worker_id = %(worker_id)s, attempt = attempt + CASE WHEN lease_until IS NULL THEN 1 ELSE 0 END,
       lease_until = now() + make_interval(secs => %(seconds)s), step = coalesce(checkpoint_step, 0)
 WHERE (study_id, slot) = (
        SELECT study_id, slot FROM castpool_slots s
         WHERE study_id = %(study_id)s AND ended_at IS NULL AND ({{candidates}})
           AND NOT EXISTS (SELECT FROM castpool_studies c WHERE c.study_id = %(study_id)s AND {LIMIT} IS NOT NULL)
         ORDER BY {{order}} LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING slot, attempt, params, trial_id, failures, checkpoint, checkpoint_step
"""
CLAIM = _CLAIM.format(candidates="lease_until IS NULL", order="slot")

# After an answer was lost: the slot may be the worker's already. All others that it holds have a running trial.
CLAIM_AGAIN = _CLAIM.format(
    candidates="""lease_until IS NULL OR (worker_id = %(worker_id)s AND NOT EXISTS (
               SELECT FROM trials t WHERE t.trial_id = s.trial_id AND t.state = 'RUNNING'))""",
    order="lease_until IS NULL, slot",
)

HELD = "study_id = %(study_id)s AND slot = %(slot)s AND worker_id = %(worker_id)s AND attempt = %(attempt)s"

# What `held`, a slot with its `step` before and the `new_step`, has cost its study. Time passes for a study while
# somebody beats or ends a trial; a pause of all is none of it.
SPENT = f"""
, spent AS (
    UPDATE castpool_studies c
       SET steps = c.steps + held.trained, active_at = greatest(c.active_at, now()),
           seconds = c.seconds + CASE WHEN c.active_at > now() - interval '60 seconds'
                                      THEN greatest(extract(epoch FROM now() - c.active_at), 0) ELSE 0 END
      FROM held WHERE c.study_id = %(study_id)s
    RETURNING {LIMIT} AS over, (c.budget_seconds - c.seconds)::float AS seconds_left)
"""
TRAINED = "greatest(%(step)s - coalesce(step, 0), 0)"

# The lease, the step, the worker, and Optuna's own heartbeat for whoever watches with Optuna, in the session's time
# zone. `before` is locked first, so that `step` is read as it is when it changes.
BEAT = f"""
WITH before AS (SELECT slot, {TRAINED} AS trained FROM castpool_slots WHERE {HELD} AND ended_at IS NULL FOR UPDATE)
, held AS (
    UPDATE castpool_slots s
       SET lease_until = now() + make_interval(secs => %(seconds)s), step = greatest(s.step, %(step)s),
           steps = s.steps + before.trained
      FROM before WHERE s.study_id = %(study_id)s AND s.slot = before.slot
    RETURNING s.worker_id, s.trial_id, before.trained)
, worker AS (UPDATE castpool_workers w SET last_beat = now() FROM held WHERE w.worker_id = held.worker_id)
, heart AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat)
    SELECT t.trial_id, localtimestamp FROM held JOIN trials t USING (trial_id) WHERE t.state = 'RUNNING'
    ON CONFLICT (trial_id) DO UPDATE SET heartbeat = EXCLUDED.heartbeat)
{SPENT}
SELECT spent.over, spent.seconds_left FROM held LEFT JOIN spent ON true
"""

# The checkpoint of the attempt, and the one that it replaces.
CHECKPOINT = f"""
WITH before AS (
    SELECT slot, checkpoint, {TRAINED} AS trained FROM castpool_slots WHERE {HELD} AND ended_at IS NULL FOR UPDATE)
, held AS (
    UPDATE castpool_slots s
       SET checkpoint = %(checkpoint)s, checkpoint_step = %(step)s, step = greatest(s.step, %(step)s),
           steps = s.steps + before.trained
      FROM before WHERE s.study_id = %(study_id)s AND s.slot = before.slot
    RETURNING before.checkpoint AS replaced, before.trained)
{SPENT}
SELECT held.replaced FROM held
"""

COUNT = f"""
SELECT count(*) AS slots,
       count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended,
       count(*) FILTER (WHERE ended_at IS NULL AND lease_until IS NOT NULL) AS leased,
       {LIMIT} AS over, c.steps, c.budget_steps, c.seconds, c.budget_seconds
  FROM castpool_slots s JOIN castpool_studies c USING (study_id) WHERE study_id = %(study_id)s GROUP BY c.study_id
"""

# A worker that has not been heard since the server started may be on its way back: nobody could beat meanwhile.
EXPIRED = """
SELECT s.slot, s.attempt, s.trial_id, w.worker_id, w.host, w.pid,
       extract(epoch FROM now() - w.last_beat)::float AS silent_seconds
  FROM castpool_slots s LEFT JOIN castpool_workers w USING (worker_id)
 WHERE s.study_id = %(study_id)s AND s.ended_at IS NULL AND s.lease_until < now()
   AND (w.worker_id IS NULL OR w.left_at IS NOT NULL OR w.last_beat >= pg_postmaster_start_time()
        OR now() >= pg_postmaster_start_time() + make_interval(secs => %(return_seconds)s))
 ORDER BY s.slot LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED
"""

# Optuna keeps UTC without a zone.
FAIL = """
WITH failed AS (
    UPDATE trials t SET state = 'FAIL', datetime_complete = now() AT TIME ZONE 'utc'
      FROM unnest(cast(%(trial_ids)s AS int[]), cast(%(reasons)s AS text[])) AS lost (trial_id, reason)
     WHERE t.trial_id = lost.trial_id AND t.state = 'RUNNING' RETURNING t.trial_id, lost.reason)
INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, 'reason', reason FROM failed
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
"""

# By now every trial of these slots has ended. A slot whose trial was told before its worker died ends as it was told;
# one that was lost too often fails for good; all others are open again.
SETTLE = """
UPDATE castpool_slots s
   SET lease_until = NULL, step = NULL,
       outcome = CASE WHEN now_is.told IS NOT NULL THEN now_is.told WHEN now_is.is_hopeless THEN 'failed' END,
       worker_id = CASE WHEN now_is.told IS NOT NULL THEN s.worker_id END,
       ended_at = CASE WHEN now_is.told IS NOT NULL OR now_is.is_hopeless THEN now() END,
       failures = CASE WHEN now_is.told IS NULL THEN now_is.failures ELSE s.failures END,
       reason = CASE WHEN now_is.told IS NULL THEN lost.reason END
  FROM unnest(cast(%(slots)s AS int[]), cast(%(reasons)s AS text[])) AS lost (slot, reason)
  JOIN LATERAL (
        SELECT lower(t.state::text) AS told, coalesce((own.failures ->> 'lost')::int, 0) >= %(most)s AS is_hopeless,
               own.failures || jsonb_build_object('lost', coalesce((own.failures ->> 'lost')::int, 0) + 1) AS failures
          FROM castpool_slots own
          LEFT JOIN trials t ON t.trial_id = own.trial_id AND t.state IN ('COMPLETE', 'PRUNED')
         WHERE own.study_id = %(study_id)s AND own.slot = lost.slot) AS now_is ON true
 WHERE s.study_id = %(study_id)s AND s.slot = lost.slot
"""

# Those that have left too: a worker that ends by an error leaves the roster, but not its slot.
EXPIRE = """
UPDATE castpool_slots SET lease_until = now() - interval '1 second'
 WHERE ended_at IS NULL AND lease_until IS NOT NULL AND study_id = %(study_id)s
   AND worker_id IN (SELECT worker_id FROM castpool_workers WHERE host = %(host)s AND pid = %(pid)s)
"""

# How many attempts at a slot may be lost before it fails for good, as the study's spec says.
MOST_LOST = """
SELECT coalesce((spec ->> 'max_retries')::int, %(otherwise)s) AS most
  FROM castpool_studies WHERE study_id = %(study_id)s
"""

# Ends a study whose first trials all failed for one reason, whatever sizes it names.
STOP = """
UPDATE castpool_studies c SET stopped = %(stopped)s
 WHERE c.study_id = %(study_id)s AND c.stopped IS NULL
   AND NOT EXISTS (SELECT FROM castpool_slots s WHERE s.study_id = c.study_id AND s.outcome <> 'failed')
   AND (SELECT count(*) FROM castpool_slots s
         WHERE s.study_id = c.study_id AND s.outcome = 'failed'
           AND regexp_replace(s.reason, '[0-9]+', '#', 'g') = regexp_replace(%(reason)s, '[0-9]+', '#', 'g')
       ) >= %(failures)s
RETURNING study_id
"""
