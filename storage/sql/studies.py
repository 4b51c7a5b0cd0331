"""Studies: Optuna's, and castpool's tables beside them."""

from __future__ import annotations

from castpool.storage.sql.slots import BUDGETS, SEARCH_IS_OVER, TRIAL

INSERT = """
WITH study AS (INSERT INTO studies (study_name) VALUES (%(name)s) ON CONFLICT DO NOTHING RETURNING study_id)
, the_directions AS (
    INSERT INTO study_directions (study_id, objective, direction)
    SELECT study_id, d.position - 1, cast(d.direction AS studydirection)
      FROM study, unnest(cast(%(directions)s AS text[])) WITH ORDINALITY AS d (direction, position))
SELECT study_id FROM study
"""

# Optuna's rows of one study or of all, in their order.
STUDIES = """
SELECT s.study_id, s.study_name,
       (SELECT array_agg(d.direction::text ORDER BY d.objective) FROM study_directions d
         WHERE d.study_id = s.study_id) AS directions,
       (SELECT json_agg(json_build_array(a.key, a.value_json)) FROM study_user_attributes a
         WHERE a.study_id = s.study_id) AS user_attrs,
       (SELECT json_agg(json_build_array(a.key, a.value_json)) FROM study_system_attributes a
         WHERE a.study_id = s.study_id) AS system_attrs
  FROM studies s
 WHERE (%(study_id)s::int IS NULL OR s.study_id = %(study_id)s) AND (%(name)s::text IS NULL OR s.study_name = %(name)s)
 ORDER BY s.study_id
"""

SET_USER_ATTR = """
INSERT INTO study_user_attributes (study_id, key, value_json)
SELECT study_id, %(key)s, %(value)s FROM studies WHERE study_id = %(study_id)s
ON CONFLICT (study_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
RETURNING study_id
"""
SET_SYSTEM_ATTR = SET_USER_ATTR.replace("study_user_attributes", "study_system_attributes")

# Optuna's tables do not cascade. castpool's do, with the study's row.
_OF_TRIALS = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = %(study_id)s)"
LOCK_STUDY = "SELECT study_id FROM studies WHERE study_id = %(study_id)s FOR UPDATE"
DELETE = [
    LOCK_STUDY,
    *(
        f"DELETE FROM {table} WHERE {_OF_TRIALS}"
        for table in (
            "trial_params",
            "trial_values",
            "trial_intermediate_values",
            "trial_user_attributes",
            "trial_system_attributes",
            "trial_heartbeats",
        )
    ),
    *(
        f"DELETE FROM {table} WHERE study_id = %(study_id)s"
        for table in ("trials", "study_directions", "study_user_attributes", "study_system_attributes")
    ),
    "DELETE FROM studies WHERE study_id = %(study_id)s RETURNING study_id",
]

# --- castpool's tables

KEEP_NEW = """
INSERT INTO castpool_studies (study_id, spec, identity, plan, dataset, phase)
VALUES (%(study_id)s, cast(%(spec)s AS jsonb), cast(%(identity)s AS jsonb), cast(%(plan)s AS jsonb), %(dataset)s,
        %(phase)s)
ON CONFLICT DO NOTHING
"""

# A stopped study is resumed by the command that creates it.
KEEP = """
UPDATE castpool_studies
   SET spec = cast(%(spec)s AS jsonb), plan = cast(%(plan)s AS jsonb), stopped = NULL
 WHERE study_id = %(study_id)s
"""

# What is spent stays as it is.
SET_LIMITS = """
INSERT INTO castpool_budgets (study_id, kind, "limit", reserved)
SELECT %(study_id)s, asked.kind, asked."limit", coalesce(asked."limit" * %(reserved_share)s, 0)
  FROM unnest(cast(%(kinds)s AS text[]), cast(%(limits)s AS float8[])) AS asked (kind, "limit")
ON CONFLICT (study_id, kind) DO UPDATE SET "limit" = EXCLUDED."limit", reserved = EXCLUDED.reserved
"""

# After a budget was raised, the search goes on, and its finalists are judged again.
SEARCH_AGAIN = f"""
UPDATE castpool_studies c SET phase = %(phase)s
 WHERE c.study_id = %(study_id)s AND c.phase IS NOT NULL AND NOT {SEARCH_IS_OVER}
   AND EXISTS (SELECT FROM castpool_slots s
                WHERE s.study_id = c.study_id AND s.kind = '{TRIAL}' AND s.ended_at IS NULL)
"""

FIND = """
SELECT s.study_id, s.study_name AS name, c.spec, c.identity, c.plan, c.dataset, c.created_at
  FROM studies s JOIN castpool_studies c USING (study_id) WHERE s.study_name = %(name)s
"""

IDENTITY = "SELECT identity FROM castpool_studies WHERE study_id = %(study_id)s FOR UPDATE"

# A study that castpool did not create. A bare one may be castpool's: Optuna's row is written first.
FOREIGN = """
SELECT s.study_id FROM studies s
 WHERE s.study_name = %(name)s AND NOT EXISTS (SELECT FROM castpool_studies c WHERE c.study_id = s.study_id)
   AND (EXISTS (SELECT FROM trials t WHERE t.study_id = s.study_id)
     OR EXISTS (SELECT FROM study_user_attributes a WHERE a.study_id = s.study_id)
     OR (SELECT string_agg(d.direction::text, ' ') FROM study_directions d WHERE d.study_id = s.study_id) <> 'MINIMIZE')
"""

SUMMARIES = f"""
SELECT s.study_name AS name, c.created_at, count(*) FILTER (WHERE sl.kind = '{TRIAL}') AS slots,
       count(sl.ended_at) FILTER (WHERE sl.kind = '{TRIAL}') AS ended, c.stopped, c.phase, {BUDGETS} AS budgets
  FROM studies s JOIN castpool_studies c USING (study_id) JOIN castpool_slots sl USING (study_id)
 GROUP BY s.study_name, c.study_id ORDER BY c.created_at DESC
"""
