"""Data sets by the SHA-256 of their bytes."""

from __future__ import annotations

INSERT = "INSERT INTO castpool_datasets (sha256, payload) VALUES (%(sha256)s, %(payload)s) ON CONFLICT DO NOTHING"
SELECT = "SELECT payload FROM castpool_datasets WHERE sha256 = %(sha256)s"
