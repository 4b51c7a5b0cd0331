"""The budgets of a study: its slots, and the rows that count steps and time.

A slot is of one kind: trials are searched; the others are evaluations of finalists, numbered from `FIRST_EVALUATION`,
so that both can be added to. Every write of a worker names slot, worker and attempt, so a worker whose lease was lost
changes nothing.
"""

from __future__ import annotations

from castpool import attributes

ADD = """
INSERT INTO castpool_slots (study_id, slot)
SELECT %(study_id)s, generate_series(0, %(trials)s - 1) ON CONFLICT DO NOTHING
"""

# The slot that trains the model's defaults.
DEFAULT_SLOT = 0

FIRST_PARAMS = f"""
UPDATE castpool_slots SET params = cast(%(params)s AS jsonb)
 WHERE study_id = %(study_id)s AND slot = {DEFAULT_SLOT} AND attempt = 0
"""

# The kind of the slots that trials fill.
TRIAL = "trial"
FIRST_EVALUATION = 1_000_000_000

# Whether no trial of study `c` may begin though slots are open: a part of each budget is reserved for evaluations.
SEARCH_IS_OVER = """
(c.stopped IS NOT NULL OR EXISTS (
    SELECT FROM castpool_budgets b WHERE b.study_id = c.study_id AND b.spent >= b."limit" - b.reserved))
"""
# Whether the evaluation `s` of study `c` may not begin though its slot is open.
# No budget stops a backtest.
IS_SPENT = """
(s.kind <> %(backtest)s AND EXISTS (
    SELECT FROM castpool_budgets b WHERE b.study_id = c.study_id AND b.spent >= b."limit"))
"""
# The budgets of study `c`, each as an array of its kind, its limit, what is spent and what is reserved.
BUDGETS = """
(SELECT json_agg(json_build_array(b.kind, b."limit", b.spent, b.reserved)) FROM castpool_budgets b
  WHERE b.study_id = c.study_id)
"""

_CLAIM = """
UPDATE castpool_slots
   SET worker_id = %(worker_id)s, attempt = attempt + CASE WHEN lease_until IS NULL THEN 1 ELSE 0 END,
       lease_until = now() + make_interval(secs => %(lease_seconds)s), step = coalesce(checkpoint_step, 0)
 WHERE (study_id, slot) = (
        SELECT study_id, slot FROM castpool_slots s
         WHERE study_id = %(study_id)s AND ended_at IS NULL AND {kind} AND ({candidates})
           AND NOT EXISTS (SELECT FROM castpool_studies c WHERE c.study_id = %(study_id)s AND {over})
         ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING slot, attempt, params, trial_id, failures, checkpoint, checkpoint_step, task
"""
_OF_TRIALS = {"kind": f"kind = '{TRIAL}'", "over": SEARCH_IS_OVER}
_OF_EVALUATIONS = {"kind": f"kind <> '{TRIAL}'", "over": IS_SPENT}
_OPEN = {"candidates": "lease_until IS NULL", "order": "slot"}
CLAIM = _CLAIM.format(**_OF_TRIALS, **_OPEN)
CLAIM_EVALUATION = _CLAIM.format(**_OF_EVALUATIONS, **_OPEN)

# After the answer to a claim was lost, the worker may hold the slot already: the one without a running trial.
CLAIM_AGAIN = _CLAIM.format(
    **_OF_TRIALS,
    candidates="""lease_until IS NULL OR (worker_id = %(worker_id)s AND NOT EXISTS (
               SELECT FROM trials t WHERE t.trial_id = s.trial_id AND t.state = 'RUNNING'))""",
    order="lease_until IS NULL, slot",
)
CLAIM_EVALUATION_AGAIN = _CLAIM.format(
    **_OF_EVALUATIONS,
    candidates="lease_until IS NULL OR worker_id = %(worker_id)s",
    order="lease_until IS NULL, slot",
)

HELD = "study_id = %(study_id)s AND slot = %(slot)s AND worker_id = %(worker_id)s AND attempt = %(attempt)s"

# Charges the study's budgets with the work on `held`, a slot with the steps that were `trained` since the last write.
# Time passes for a study while at least one worker trains; a pause of a whole lease is no work. The order of locks is
# the slot, its study, the study's budgets, the trial: the budgets are charged by one transaction at a time. A backtest
# is charged with nothing, and locks its slot only.
CHARGED = """
, study AS (
    SELECT c.study_id, c.stopped, c.active_at FROM castpool_studies c, held
     WHERE c.study_id = %(study_id)s AND held.kind <> %(backtest)s FOR NO KEY UPDATE OF c)
, active AS (
    UPDATE castpool_studies c SET active_at = greatest(c.active_at, now()) FROM study
     WHERE c.study_id = study.study_id)
, work AS (
    SELECT study.study_id, study.stopped, held.trained AS steps,
           CASE WHEN study.active_at > now() - make_interval(secs => %(lease_seconds)s)
                THEN greatest(extract(epoch FROM now() - study.active_at), 0) ELSE 0 END::float8 AS seconds
      FROM study, held)
, charged AS (
    UPDATE castpool_budgets b SET spent = b.spent + work.steps * cost.per_step + work.seconds * cost.per_study_second
      FROM work, unnest(cast(%(kinds)s AS text[]), cast(%(per_step)s AS float8[]),
                        cast(%(per_study_second)s AS float8[]))
                 AS cost (kind, per_step, per_study_second)
     WHERE b.study_id = work.study_id AND b.kind = cost.kind
    RETURNING b.kind, b."limit", b.spent, b.reserved)
"""
TRAINED = "greatest(%(step)s - coalesce(step, 0), 0)"

# Prolongs the lease; records step, worker, and Optuna's own heartbeat, which Optuna reads in the session's time zone.
# `before` is locked first, so that `step` is read as it is when it changes.
BEAT = f"""
WITH before AS (SELECT slot, {TRAINED} AS trained FROM castpool_slots WHERE {HELD} AND ended_at IS NULL FOR UPDATE)
, held AS (
    UPDATE castpool_slots s
       SET lease_until = now() + make_interval(secs => %(lease_seconds)s), step = greatest(s.step, %(step)s),
           steps = s.steps + before.trained
      FROM before WHERE s.study_id = %(study_id)s AND s.slot = before.slot
    RETURNING s.worker_id, s.trial_id, s.kind, before.trained)
, worker AS (UPDATE castpool_workers w SET last_beat = now() FROM held WHERE w.worker_id = held.worker_id)
, heart AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat)
    SELECT t.trial_id, localtimestamp FROM held JOIN trials t USING (trial_id) WHERE t.state = 'RUNNING'
    ON CONFLICT (trial_id) DO UPDATE SET heartbeat = EXCLUDED.heartbeat)
{CHARGED}
SELECT work.stopped, (SELECT json_agg(json_build_array(kind, "limit", spent, reserved)) FROM charged) AS budgets
  FROM held LEFT JOIN work ON true
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
    RETURNING before.checkpoint AS replaced, s.kind, before.trained)
{CHARGED}
SELECT held.replaced FROM held
"""

# The end of a held slot, or without an outcome its opening for the next attempt; `before` is the slot, locked.
ENDED = """
    UPDATE castpool_slots s
       SET outcome = %(outcome)s, ended_at = CASE WHEN %(outcome)s::text IS NOT NULL THEN now() END, lease_until = NULL,
           worker_id = CASE WHEN %(outcome)s::text IS NOT NULL THEN s.worker_id END,
           step = CASE WHEN %(outcome)s::text IS NOT NULL THEN greatest(s.step, %(step)s) END,
           steps = s.steps + before.trained, reason = %(reason)s,
           failures = s.failures || CASE WHEN %(failure)s::text IS NULL THEN '{}'::jsonb ELSE jsonb_build_object(
               %(failure)s::text, coalesce((s.failures ->> %(failure)s::text)::int, 0) + 1) END,
           checkpoint = CASE WHEN %(keeps_checkpoint)s THEN s.checkpoint END,
           checkpoint_step = CASE WHEN %(keeps_checkpoint)s THEN s.checkpoint_step END,
           result = %(result)s, seconds = cast(%(seconds)s AS jsonb)
      FROM before WHERE s.study_id = %(study_id)s AND s.slot = before.slot
    RETURNING s.slot, s.kind, before.trained
"""
END_EVALUATION = f"""
WITH before AS (SELECT slot, {TRAINED} AS trained FROM castpool_slots WHERE {HELD} AND ended_at IS NULL FOR UPDATE)
, held AS ({ENDED})
{CHARGED}
SELECT slot FROM held
"""

_TRIALS_ONLY = f"FILTER (WHERE kind = '{TRIAL}'"
_EVALUATIONS_ONLY = f"FILTER (WHERE kind <> '{TRIAL}'"
COUNT = f"""
SELECT count(*) {_TRIALS_ONLY}) AS slots,
       count(*) {_TRIALS_ONLY} AND ended_at IS NOT NULL) AS ended,
       count(*) {_TRIALS_ONLY} AND ended_at IS NULL AND lease_until IS NOT NULL) AS leased,
       count(*) {_EVALUATIONS_ONLY}) AS evaluations,
       count(*) {_EVALUATIONS_ONLY} AND ended_at IS NOT NULL) AS evaluated,
       count(*) {_EVALUATIONS_ONLY} AND ended_at IS NULL AND lease_until IS NOT NULL) AS evaluating,
       c.stopped, c.phase, {BUDGETS} AS budgets
  FROM castpool_slots s JOIN castpool_studies c USING (study_id) WHERE study_id = %(study_id)s GROUP BY c.study_id
"""

# A worker without a beat since the server started may resume: no worker could beat while the server was down.
EXPIRED = """
SELECT s.slot, s.attempt, s.trial_id, w.worker_id, w.host, w.pid,
       extract(epoch FROM now() - w.last_beat)::float AS silent_seconds
  FROM castpool_slots s LEFT JOIN castpool_workers w USING (worker_id)
 WHERE s.study_id = %(study_id)s AND s.ended_at IS NULL AND s.lease_until < now()
   AND (w.worker_id IS NULL OR w.left_at IS NOT NULL OR w.last_beat >= pg_postmaster_start_time()
        OR now() >= pg_postmaster_start_time() + make_interval(secs => %(lease_seconds)s))
 ORDER BY s.slot LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED
"""

# Optuna keeps UTC without a zone.
FAIL = f"""
WITH failed AS (
    UPDATE trials t SET state = 'FAIL', datetime_complete = now() AT TIME ZONE 'utc'
      FROM unnest(cast(%(trial_ids)s AS int[]), cast(%(reasons)s AS text[])) AS lost (trial_id, reason)
     WHERE t.trial_id = lost.trial_id AND t.state = 'RUNNING' RETURNING t.trial_id, lost.reason)
INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, '{attributes.REASON}', reason FROM failed
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
"""

# By now every trial of these slots has ended. A slot whose trial ended before its worker died gets the trial's
# outcome; one that was lost too often fails for good; all others are open again.
SETTLE = """
UPDATE castpool_slots s
   SET lease_until = NULL, step = NULL,
       outcome = coalesce(now_is.trial_outcome, CASE WHEN now_is.is_hopeless THEN %(failed)s END),
       worker_id = CASE WHEN now_is.trial_outcome IS NOT NULL THEN s.worker_id END,
       ended_at = CASE WHEN now_is.trial_outcome IS NOT NULL OR now_is.is_hopeless THEN now() END,
       failures = CASE WHEN now_is.trial_outcome IS NULL THEN now_is.failures ELSE s.failures END,
       reason = CASE WHEN now_is.trial_outcome IS NULL THEN lost.reason END
  FROM unnest(cast(%(slots)s AS int[]), cast(%(reasons)s AS text[])) AS lost (slot, reason)
  JOIN LATERAL (
        SELECT lower(t.state::text) AS trial_outcome,
               coalesce((before.failures ->> %(lost)s)::int, 0) >= %(most)s AS is_hopeless,
               before.failures || jsonb_build_object(
                   %(lost)s::text, coalesce((before.failures ->> %(lost)s)::int, 0) + 1) AS failures
          FROM castpool_slots before
          LEFT JOIN trials t ON t.trial_id = before.trial_id AND t.state IN ('COMPLETE', 'PRUNED')
         WHERE before.study_id = %(study_id)s AND before.slot = lost.slot) AS now_is ON true
 WHERE s.study_id = %(study_id)s AND s.slot = lost.slot
"""

# Of workers that have left too: a worker that ends with an error leaves the registry, but keeps its slot.
EXPIRE = """
UPDATE castpool_slots SET lease_until = now() - interval '1 second'
 WHERE ended_at IS NULL AND lease_until IS NOT NULL AND study_id = %(study_id)s
   AND worker_id IN (SELECT worker_id FROM castpool_workers WHERE host = %(host)s AND pid = %(pid)s)
"""

# How many attempts at a slot may be lost before it fails for good, by the study's spec.
MOST_LOST = """
SELECT coalesce((spec ->> 'max_retries')::int, %(otherwise)s) AS most
  FROM castpool_studies WHERE study_id = %(study_id)s
"""

# Stops a study whose first trials all failed for one reason; numbers in the reasons are not compared.
STOP = """
UPDATE castpool_studies c SET stopped = %(stopped)s
 WHERE c.study_id = %(study_id)s AND c.stopped IS NULL
   AND NOT EXISTS (
        SELECT FROM castpool_slots s WHERE s.study_id = c.study_id AND s.kind = 'trial' AND s.outcome <> %(failed)s)
   AND (SELECT count(*) FROM castpool_slots s
         WHERE s.kind = 'trial' AND s.study_id = c.study_id AND s.outcome = %(failed)s
           AND regexp_replace(s.reason, '[0-9]+', '#', 'g') = regexp_replace(%(reason)s, '[0-9]+', '#', 'g')
       ) >= %(failures)s
RETURNING study_id
"""
