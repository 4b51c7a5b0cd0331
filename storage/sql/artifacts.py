"""Files in the database, in parts of a megabyte, each part a row."""

from __future__ import annotations

from castpool import attributes

DELETE = "DELETE FROM castpool_artifacts WHERE artifact_id = %(artifact_id)s RETURNING part"
INSERT = "INSERT INTO castpool_artifacts (artifact_id, part, payload) VALUES (%(artifact_id)s, %(part)s, %(payload)s)"
# Checkpoints that no slot of their study resumes from, and results of evaluations that no slot has, older than a grace
# period: their workers were killed between two statements.
SWEEP = """
DELETE FROM castpool_artifacts a
 WHERE (a.artifact_id LIKE 'checkpoint-' || %(study_id)s || '-%%'
     OR a.artifact_id LIKE 'evaluation-' || %(study_id)s || '-%%')
   AND a.created_at < now() - make_interval(secs => %(grace_seconds)s)
   AND NOT EXISTS (
        SELECT FROM castpool_slots s WHERE s.study_id = %(study_id)s AND a.artifact_id IN (s.checkpoint, s.result))
"""
SELECT = "SELECT payload FROM castpool_artifacts WHERE artifact_id = %(artifact_id)s ORDER BY part"

# The files of a study: an artifact, and the attribute by which Optuna's tools know it.
DELETE_NAMED = "DELETE FROM castpool_artifacts WHERE artifact_id LIKE %(of_this_name)s"
DETACH_NAMED = f"""
DELETE FROM study_system_attributes
 WHERE study_id = %(study_id)s AND key LIKE '{attributes.ARTIFACTS}' || %(of_this_name)s
"""
ATTACH = """
INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (%(study_id)s, %(key)s, %(value)s)
ON CONFLICT (study_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
"""
ATTACHED = "SELECT value_json FROM study_system_attributes WHERE study_id = %(study_id)s AND key LIKE %(prefix)s"
