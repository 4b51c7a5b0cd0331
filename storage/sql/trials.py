"""The statements on Optuna's tables that workers run all day, each one round trip, none scanning the trials.

Optuna creates and migrates these tables (`optuna.storages._rdb.models`); it and castpool may write to a study at the
same time. Two of its habits are kept with care. Times are UTC without a zone. A trial is inserted under a lock on
its study's row, so within a study a higher ``trial_id`` was committed later: after all trials up to some id were
read, ``trial_id >`` finds the new ones. Infinities and NaN are NULL with a type beside them.
"""

from __future__ import annotations

from functools import cache

from castpool import attributes
from castpool.storage.sql.slots import CHARGED, ENDED, HELD, TRAINED

UNFINISHED = "('RUNNING', 'WAITING')"
UTC_NOW = "clock_timestamp() AT TIME ZONE 'utc'"

# One trial, as one row of arrays. `detailed` are the states whose trials come whole; of others only the system
# attributes, which hold what pruners compare running trials by.
_TRIAL = """
SELECT t.trial_id, t.study_id, t.number, t.state::text AS state, t.datetime_start, t.datetime_complete,
       d.objectives, d.params, d.user_attrs, d.reports,
       (SELECT json_agg(json_build_array(a.key, a.value_json)) FROM trial_system_attributes a
         WHERE a.trial_id = t.trial_id) AS system_attrs
  FROM trials t
  LEFT JOIN LATERAL (
        SELECT (SELECT json_agg(json_build_array(v.value, v.value_type) ORDER BY v.objective)
                  FROM trial_values v WHERE v.trial_id = t.trial_id) AS objectives,
               (SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
                  FROM trial_params p WHERE p.trial_id = t.trial_id) AS params,
               (SELECT json_agg(json_build_array(a.key, a.value_json))
                  FROM trial_user_attributes a WHERE a.trial_id = t.trial_id) AS user_attrs,
               (SELECT json_agg(json_build_array(i.step, i.intermediate_value, i.intermediate_value_type)
                                ORDER BY i.step)
                  FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS reports
       ) d ON t.state::text = ANY(%(detailed)s)
"""

ONE_TRIAL = f"{_TRIAL} WHERE t.trial_id = %(trial_id)s"

# What may have changed since the last look: the trials that had not ended then, and those made after it.
NEWS = f"""{_TRIAL}
 WHERE t.study_id = %(study_id)s AND (t.trial_id > %(last_seen)s OR t.trial_id = ANY(%(unfinished)s))
 ORDER BY t.trial_id
"""

# Written together for one unfinished trial: the parts that a write has, in place of GATHERED. Equal values are left
# alone, so that a trial's end may repeat its reports.
GATHERED = "/* gathered */"
_PARTS = {
    "params": """
, the_params AS (
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial.trial_id, p.name, p.value, p.distribution
      FROM trial, unnest(cast(%(names)s AS text[]), cast(%(internals)s AS float8[]), cast(%(distributions)s AS text[]))
           WITH ORDINALITY AS p (name, value, distribution, position) ORDER BY p.position
    ON CONFLICT (trial_id, param_name) DO UPDATE
       SET param_value = EXCLUDED.param_value, distribution_json = EXCLUDED.distribution_json
     WHERE (trial_params.param_value, trial_params.distribution_json)
           IS DISTINCT FROM (EXCLUDED.param_value, EXCLUDED.distribution_json))
""",
    "user_attrs": """
, the_user_attrs AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial.trial_id, a.key, a.value
      FROM trial, unnest(cast(%(user_keys)s AS text[]), cast(%(user_values)s AS text[])) AS a (key, value)
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
     WHERE trial_user_attributes.value_json IS DISTINCT FROM EXCLUDED.value_json)
""",
    "system_attrs": """
, the_system_attrs AS (
    INSERT INTO trial_system_attributes (trial_id, key, value_json)
    SELECT trial.trial_id, a.key, a.value
      FROM trial, unnest(cast(%(system_keys)s AS text[]), cast(%(system_values)s AS text[])) AS a (key, value)
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
     WHERE trial_system_attributes.value_json IS DISTINCT FROM EXCLUDED.value_json)
""",
    "reports": """
, the_reports AS (
    INSERT INTO trial_intermediate_values AS had (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial.trial_id, r.step, r.value, cast(r.type AS trialintermediatevaluetype)
      FROM trial, unnest(cast(%(steps)s AS int[]), cast(%(reports)s AS float8[]), cast(%(report_types)s AS text[]))
           AS r (step, value, type)
    ON CONFLICT (trial_id, step) DO UPDATE
       SET intermediate_value = EXCLUDED.intermediate_value,
           intermediate_value_type = EXCLUDED.intermediate_value_type
     WHERE (had.intermediate_value, had.intermediate_value_type)
           IS DISTINCT FROM (EXCLUDED.intermediate_value, EXCLUDED.intermediate_value_type))
""",
    # Most writes are one report and nothing else.
    "report": """
, the_report AS (
    INSERT INTO trial_intermediate_values AS had (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial.trial_id, %(step)s, %(report)s, cast(%(report_type)s AS trialintermediatevaluetype) FROM trial
    ON CONFLICT (trial_id, step) DO UPDATE
       SET intermediate_value = EXCLUDED.intermediate_value,
           intermediate_value_type = EXCLUDED.intermediate_value_type)
""",
    "values": """
, the_values AS (
    INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial.trial_id, v.position - 1, v.value, cast(v.type AS trialvaluetype)
      FROM trial, unnest(cast(%(objectives)s AS float8[]), cast(%(objective_types)s AS text[]))
           WITH ORDINALITY AS v (value, type, position)
    ON CONFLICT (trial_id, objective) DO UPDATE SET value = EXCLUDED.value, value_type = EXCLUDED.value_type)
""",
}


@cache
def with_parts(statement: str, parts: tuple[str, ...]) -> str:
    """Return the statement with these parts of a write only, so that the server plans nothing in vain."""
    return statement.replace(GATHERED, "".join(_PARTS[part] for part in parts))


# A running trial in a slot does not wait for the disk at each report: its end does, and repeats all reports.
_LAZILY = "CASE WHEN %(is_lazy)s THEN set_config('synchronous_commit', 'off', true) END"
WRITE = f"""
WITH trial AS (
    SELECT trial_id FROM trials WHERE trial_id = %(trial_id)s AND state IN {UNFINISHED} FOR SHARE)
{GATHERED}
SELECT trial_id, {_LAZILY} FROM trial
"""

# The same, and the news just before it: after a report, mostly the pruner reads the trials.
WRITE_AND_READ = f"""
WITH trial AS (
    SELECT trial_id FROM trials WHERE trial_id = %(trial_id)s AND state IN {UNFINISHED} FOR SHARE)
{GATHERED}
SELECT (SELECT count(*) FROM trial) AS written, news.*
  FROM (SELECT {_LAZILY}) AS lazily LEFT JOIN ({NEWS}) AS news ON true
"""

# A trial's state: begun from WAITING, or ended with its values and the remaining writes.
BEGIN = f"""
UPDATE trials SET state = 'RUNNING', datetime_start = {UTC_NOW} WHERE trial_id = %(trial_id)s AND state = 'WAITING'
RETURNING trial_id
"""
_END = f"""
trial AS (
    UPDATE trials SET state = cast(%(state)s AS trialstate),
                      datetime_complete = CASE WHEN %(state)s <> 'WAITING' THEN {UTC_NOW} END
     WHERE trial_id = %(trial_id)s AND state IN {UNFINISHED} {{condition}} RETURNING trial_id)
{GATHERED}
"""
END = f"WITH {_END.format(condition='')} SELECT trial_id FROM trial"

# The same, and in the same statement the end of the slot that the trial fills, or without an outcome its opening for
# the next attempt: all of it happens, or nothing.
_STILL = f"ended_at IS NULL AND EXISTS (SELECT FROM trials WHERE trial_id = %(trial_id)s AND state IN {UNFINISHED})"
END_WITH_SLOT = f"""
WITH before AS (SELECT slot, {TRAINED} AS trained FROM castpool_slots WHERE {HELD} AND {_STILL} FOR UPDATE)
, held AS ({ENDED})
{CHARGED}
, {_END.format(condition="AND EXISTS (SELECT FROM held)")}
SELECT trial_id FROM trial
"""

# A new trial takes two statements in one transaction, sent together: one statement alone would number the trial by
# what was there before it waited for the lock.
LOCK_STUDY = "SELECT study_id FROM studies WHERE study_id = %(study_id)s FOR UPDATE"
_NEW = f"""
    INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    SELECT {{trial_id}},
           coalesce((SELECT number + 1 FROM trials WHERE study_id = %(study_id)s ORDER BY trial_id DESC LIMIT 1), 0),
           %(study_id)s, cast(%(state)s AS trialstate),
           coalesce(%(datetime_start)s::timestamp, CASE WHEN %(state)s = 'RUNNING' THEN {UTC_NOW} END),
           %(datetime_complete)s::timestamp
      {{source}}
    RETURNING trial_id, number, datetime_start
"""
_NEW_ID = "nextval(pg_get_serial_sequence('trials', 'trial_id'))"
_CREATED = f"""
{GATHERED}
SELECT trial_id, number, datetime_start FROM trial
"""
CREATE = f"""
WITH trial AS ({_NEW.format(trial_id=_NEW_ID, source="FROM studies WHERE study_id = %(study_id)s")})
{_CREATED}
"""

# For a slot, to which the trial is attached in the same statement. Asked again after a lost answer, it finds the
# trial and creates none; one that `yields` creates none either where the user has enqueued another since.
CREATE_IN_SLOT = f"""
WITH held AS (
    UPDATE castpool_slots s SET trial_id = {_NEW_ID}
     WHERE {HELD} AND ended_at IS NULL
       AND NOT EXISTS (SELECT FROM trials t WHERE t.trial_id = s.trial_id AND t.state = 'RUNNING')
       AND NOT (%(yields)s AND EXISTS (
               SELECT FROM trials w WHERE w.study_id = %(study_id)s AND w.state = 'WAITING'
                  AND (w.trial_id > %(last_seen)s OR w.trial_id = ANY(%(unfinished)s))))
    RETURNING s.trial_id)
, trial AS ({_NEW.format(trial_id="held.trial_id", source="FROM held")})
{_CREATED}
"""
ATTACHED = f"""
SELECT t.trial_id, t.number, t.datetime_start
  FROM castpool_slots s JOIN trials t ON t.trial_id = s.trial_id AND t.state = 'RUNNING'
 WHERE s.{HELD.replace(" AND ", " AND s.")} AND s.ended_at IS NULL
"""

STATE = "SELECT study_id, state::text AS state FROM trials WHERE trial_id = %(trial_id)s"
ID_OF_NUMBER = "SELECT trial_id FROM trials WHERE study_id = %(study_id)s AND number = %(number)s"

# Optuna's own heartbeat, for tools that use Optuna, which keeps it in the session's time zone.
BEAT = """
INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (%(trial_id)s, localtimestamp)
ON CONFLICT (trial_id) DO UPDATE SET heartbeat = EXCLUDED.heartbeat
"""
STALE = """
SELECT h.trial_id FROM trial_heartbeats h JOIN trials t USING (trial_id)
 WHERE h.trial_id = ANY(%(unfinished)s) AND t.state = 'RUNNING'
   AND h.heartbeat < localtimestamp - make_interval(secs => %(grace_seconds)s)
"""

# A trial that the user enqueued through Optuna, begun in a slot.
BEGIN_IN_SLOT = f"""
WITH held AS (SELECT slot FROM castpool_slots WHERE {HELD} AND ended_at IS NULL FOR UPDATE)
, trial AS (
    UPDATE trials SET state = 'RUNNING', datetime_start = {UTC_NOW}
     WHERE trial_id = %(trial_id)s AND state = 'WAITING' AND EXISTS (SELECT FROM held) RETURNING trial_id)
, attached AS (UPDATE castpool_slots SET trial_id = trial.trial_id FROM trial WHERE {HELD})
, noted AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, '{attributes.ATTEMPT}', %(note)s FROM trial
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json)
SELECT trial_id FROM trial
"""

# The trials of a study as commands display them. `deepest` is the last report.
# Optuna keeps infinities and NaN as NULL, with a type beside it.
VIEWS = f"""
SELECT t.trial_id, t.number, t.state::text AS state, t.datetime_start AT TIME ZONE 'utc' AS started_at,
       t.datetime_complete AT TIME ZONE 'utc' AS ended_at, v.value, deepest.step, deepest.last_value,
       note.value_json AS note, reason.value_json AS reason, s.slot, s.outcome
  FROM trials t
  LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
  LEFT JOIN LATERAL (
        SELECT step, intermediate_value AS last_value FROM trial_intermediate_values i
         WHERE i.trial_id = t.trial_id ORDER BY step DESC LIMIT 1) deepest ON true
  LEFT JOIN trial_user_attributes note ON note.trial_id = t.trial_id AND note.key = '{attributes.ATTEMPT}'
  LEFT JOIN trial_user_attributes reason ON reason.trial_id = t.trial_id AND reason.key = '{attributes.REASON}'
  LEFT JOIN castpool_slots s ON s.study_id = t.study_id AND s.trial_id = t.trial_id
 WHERE t.study_id = %(study_id)s ORDER BY t.number
"""
