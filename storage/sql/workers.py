"""The registry of workers: who is training, and who has left."""

from __future__ import annotations

JOIN = """
INSERT INTO castpool_workers (study_id, host, pid) VALUES (%(study_id)s, %(host)s, %(pid)s) RETURNING worker_id
"""
BEAT = "UPDATE castpool_workers SET last_beat = now() WHERE worker_id = %(worker_id)s"
LEAVE = "UPDATE castpool_workers SET left_at = now() WHERE worker_id = %(worker_id)s AND left_at IS NULL"
LEAVE_BY_PROCESS = (
    "UPDATE castpool_workers SET left_at = now() WHERE host = %(host)s AND pid = %(pid)s AND left_at IS NULL"
)

PRESENT = """
SELECT DISTINCT ON (w.worker_id) w.worker_id, w.host, w.pid, w.joined_at,
       extract(epoch FROM now() - w.last_beat)::float AS silent_seconds,
       s.slot, s.attempt, s.step, s.kind
  FROM castpool_workers w
  LEFT JOIN castpool_slots s ON s.worker_id = w.worker_id AND s.ended_at IS NULL
 WHERE w.study_id = %(study_id)s AND w.left_at IS NULL
   AND (s.slot IS NOT NULL OR w.last_beat > now() - make_interval(secs => %(lease_seconds)s))
 ORDER BY w.worker_id, s.slot DESC
"""

# The share of the server's connections that are needed: one for each worker, and those of other programs.
SHARE = """
SELECT ((SELECT count(*) FROM castpool_workers WHERE left_at IS NULL AND last_beat > now() - interval '2 minutes')
      + (SELECT count(*) FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND application_name NOT LIKE 'castpool worker%'))::float
       / (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)
"""
