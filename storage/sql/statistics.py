"""Statistics of a study's attempts and workers."""

from __future__ import annotations

from castpool import attributes

# The time that workers recorded for their attempts and evaluations, by phase.
PHASES = f"""
SELECT each.key AS phase, sum(each.value::float)::float AS seconds
  FROM (SELECT a.value_json::jsonb AS seconds
          FROM trials t JOIN trial_user_attributes a USING (trial_id)
         WHERE t.study_id = %(study_id)s AND a.key = '{attributes.PHASE_SECONDS}'
         UNION ALL SELECT s.seconds FROM castpool_slots s WHERE s.study_id = %(study_id)s AND s.seconds IS NOT NULL
       ) AS recorded, jsonb_each_text(recorded.seconds) AS each
 GROUP BY each.key
"""

# A worker's time runs from when it joined until it left or, of a present or lost worker, until its last beat.
MEASURES = f"""
WITH ended AS (
    SELECT t.state::text AS state, extract(epoch FROM t.datetime_complete - t.datetime_start)::float AS seconds,
           EXISTS (SELECT FROM trial_user_attributes a
                    WHERE a.trial_id = t.trial_id AND a.key = '{attributes.FAILURE}') AS has_failed,
           (SELECT a.value_json::float FROM trial_user_attributes a
             WHERE a.trial_id = t.trial_id AND a.key = '{attributes.TRAINING_SECONDS}') AS training,
           (SELECT a.value_json::float FROM trial_user_attributes a
             WHERE a.trial_id = t.trial_id AND a.key = '{attributes.MEMORY_PEAK_MB}') AS memory
      FROM trials t WHERE t.study_id = %(study_id)s AND t.state NOT IN ('RUNNING', 'WAITING'))
, running AS (
    SELECT coalesce(sum(extract(epoch FROM w.last_beat AT TIME ZONE 'utc' - t.datetime_start)), 0)::float AS seconds
      FROM castpool_slots s JOIN trials t USING (trial_id) JOIN castpool_workers w USING (worker_id)
     WHERE s.study_id = %(study_id)s AND s.ended_at IS NULL AND t.state = 'RUNNING'
       AND w.last_beat AT TIME ZONE 'utc' > t.datetime_start)
, work AS (
    SELECT coalesce(sum(
               extract(epoch FROM
                       least(coalesce(w.left_at, w.last_beat),
                             w.last_beat + make_interval(secs => %(lease_seconds)s)) - w.joined_at)
               -- A process that serves several studies joins all of them at once.
               / (SELECT count(*) FROM castpool_workers o WHERE o.host = w.host AND o.pid = w.pid
                     AND abs(extract(epoch FROM o.joined_at - w.joined_at)) < %(lease_seconds)s)
           ), 0)::float AS seconds
      FROM castpool_workers w WHERE w.study_id = %(study_id)s)
SELECT count(*)::int AS attempts,
       count(*) FILTER (WHERE state = 'COMPLETE')::int AS complete,
       count(*) FILTER (WHERE state = 'PRUNED')::int AS pruned,
       count(*) FILTER (WHERE has_failed)::int AS failed,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE state <> 'FAIL') AS median_seconds,
       max(seconds) FILTER (WHERE state <> 'FAIL' OR has_failed) AS longest_seconds,
       max(memory) AS memory_mb,
       coalesce(sum(training), 0) + (SELECT seconds FROM running) AS training_seconds,
       (SELECT seconds FROM work) AS working_seconds,
       (SELECT (a.value_json::jsonb ->> 'runs')::int FROM study_user_attributes a
         WHERE a.study_id = %(study_id)s AND a.key = '{attributes.MLFLOW}') AS runs
  FROM ended
"""
