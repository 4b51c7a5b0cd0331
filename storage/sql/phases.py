"""The phases of a study: the search, then evaluations of its finalists; no phase where nothing is evaluated."""

from __future__ import annotations

from castpool.storage.sql.slots import FIRST_EVALUATION, SEARCH_IS_OVER, TRIAL

# Enters the next phase, unless a worker still holds a slot, or another process has entered it. What is then open of the
# phase before is dropped. A study without a phase is done when its search is over. A phase that is entered again, as a
# backtest of other windows, goes on with what workers hold.
ENTER_PHASE = f"""
UPDATE castpool_studies c
   SET phase = %(phase)s, evaluation = coalesce(cast(%(record)s AS jsonb), c.evaluation)
 WHERE c.study_id = %(study_id)s
   AND (c.phase = %(before)s
     OR (c.phase IS NULL AND %(before)s::text = %(done)s AND ({SEARCH_IS_OVER} OR NOT EXISTS (
            SELECT FROM castpool_slots s
             WHERE s.study_id = c.study_id AND s.kind = '{TRIAL}' AND s.ended_at IS NULL))))
   AND (%(before)s::text = %(phase)s::text OR NOT EXISTS (
        SELECT FROM castpool_slots s
         WHERE s.study_id = c.study_id AND s.ended_at IS NULL AND s.lease_until IS NOT NULL))
RETURNING study_id
"""
# A window that could not be forecast is tried again by the next backtest that asks for it.
DROP_OPEN_EVALUATIONS = f"""
DELETE FROM castpool_slots
 WHERE study_id = %(study_id)s AND kind <> '{TRIAL}'
   AND ((ended_at IS NULL AND (lease_until IS NULL OR %(before)s::text <> %(phase)s::text))
     OR (kind = %(backtest)s AND kind = %(phase)s AND outcome = %(failed)s))
"""
# In the order of the tasks. A task that was evaluated before is not evaluated again.
ADD_EVALUATIONS = f"""
INSERT INTO castpool_slots (study_id, slot, kind, task)
SELECT %(study_id)s,
       (SELECT coalesce(max(slot) + 1, {FIRST_EVALUATION}) FROM castpool_slots
         WHERE study_id = %(study_id)s AND kind <> '{TRIAL}') + asked.number - 1, %(phase)s, asked.task
  FROM jsonb_array_elements(cast(%(tasks)s AS jsonb)) WITH ORDINALITY AS asked (task, number)
 ORDER BY asked.number
ON CONFLICT (study_id, task) WHERE task IS NOT NULL DO NOTHING
"""
EVALUATIONS = f"""
SELECT s.task, s.outcome, s.reason, s.result
  FROM castpool_slots s WHERE s.study_id = %(study_id)s AND s.kind <> '{TRIAL}' ORDER BY s.slot
"""
RECORD = "SELECT phase, evaluation FROM castpool_studies WHERE study_id = %(study_id)s"
