"""How a study's run is going, in one row."""

from __future__ import annotations

# Seconds at work are those from a worker's coming to its going or, of one that is there or was lost, its last beat.
# What each attempt's worker wrote down of its time, by phase.
PHASES = """
SELECT s.key AS phase, sum(s.value::float)::float AS seconds
  FROM trials t
  JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'seconds',
       jsonb_each_text(a.value_json::jsonb) s
 WHERE t.study_id = %(study_id)s
 GROUP BY s.key
"""

MEASURES = """
WITH ended AS (
    SELECT t.state::text AS state, extract(epoch FROM t.datetime_complete - t.datetime_start)::float AS seconds,
           EXISTS (SELECT FROM trial_user_attributes a
                    WHERE a.trial_id = t.trial_id AND a.key = 'failure') AS has_failed,
           (SELECT a.value_json::float FROM trial_user_attributes a
             WHERE a.trial_id = t.trial_id AND a.key = 'training_seconds') AS training,
           (SELECT a.value_json::float FROM trial_user_attributes a
             WHERE a.trial_id = t.trial_id AND a.key = 'memory_peak_mb') AS memory
      FROM trials t WHERE t.study_id = %(study_id)s AND t.state NOT IN ('RUNNING', 'WAITING'))
, running AS (
    SELECT coalesce(sum(extract(epoch FROM w.last_beat AT TIME ZONE 'utc' - t.datetime_start)), 0)::float AS seconds
      FROM castpool_slots s JOIN trials t USING (trial_id) JOIN castpool_workers w USING (worker_id)
     WHERE s.study_id = %(study_id)s AND s.ended_at IS NULL AND t.state = 'RUNNING'
       AND w.last_beat AT TIME ZONE 'utc' > t.datetime_start)
, work AS (
    SELECT coalesce(sum(
               extract(epoch FROM
                       least(coalesce(w.left_at, w.last_beat), w.last_beat + interval '60 seconds') - w.joined_at)
               -- A process that serves several studies joins all of them at once.
               / (SELECT count(*) FROM castpool_workers o WHERE o.host = w.host AND o.pid = w.pid
                     AND abs(extract(epoch FROM o.joined_at - w.joined_at)) < 60)
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
         WHERE a.study_id = %(study_id)s AND a.key = 'castpool:mlflow') AS runs
  FROM ended
"""
