"""Files in the database, in parts of a megabyte, each part a row."""

from __future__ import annotations

DELETE = "DELETE FROM castpool_artifacts WHERE artifact_id = %(artifact_id)s RETURNING part"
INSERT = "INSERT INTO castpool_artifacts (artifact_id, part, payload) VALUES (%(artifact_id)s, %(part)s, %(payload)s)"
SELECT = "SELECT payload FROM castpool_artifacts WHERE artifact_id = %(artifact_id)s ORDER BY part"
