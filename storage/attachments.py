"""The files that belong to a study: kept in the database, shown by optuna-dashboard beside the study.

A file's artifact is named after its content, so that a file attached twice is the same, and one of another content
takes the place of the one that had its name.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine

from storage.artifacts import PART_BYTES, PostgresArtifactStore
from storage.engine import run, run_together
from storage.sql import artifacts as sql
from storage.sql.studies import LOCK_STUDY

# Where Optuna looks for a study's artifacts (`optuna.artifacts._upload.ARTIFACTS_ATTR_PREFIX`).
PREFIX = "artifacts:"
# optuna-dashboard serves artifacts whose names are hexadecimal digits and dashes.
OURS = "f11e"


@dataclass(frozen=True)
class Attachment:
    """A file of a study."""

    name: str
    artifact_id: str

    @property
    def digest(self) -> str:
        """What tells one content from another: the beginning of its SHA-256."""
        return self.artifact_id.rpartition("-")[2]


def attach(engine: Engine, study_id: int, files: Mapping[str, bytes]) -> None:
    """Keep files with a study, each in place of the one of its name; all of them, or none."""
    statements: list[tuple[str, dict[str, Any]]] = []
    there = {own.artifact_id for own in attachments(engine, study_id)}
    for name, content in files.items():
        of_this_name = f"{OURS}-{study_id}-{_digest(name.encode())[:8]}-"
        artifact_id = of_this_name + _digest(content)
        if artifact_id in there:
            continue
        kind, encoding = mimetypes.guess_type(name)
        meta = {
            "artifact_id": artifact_id,
            "filename": name,
            "mimetype": kind or "application/octet-stream",
            "encoding": encoding,
        }
        before = {"study_id": study_id, "of_this_name": f"{of_this_name}%"}
        statements += [(sql.DELETE_NAMED, before), (sql.DETACH_NAMED, before)]
        for part, start in enumerate(range(0, max(len(content), 1), PART_BYTES)):
            payload = content[start : start + PART_BYTES]
            statements.append((sql.INSERT, {"artifact_id": artifact_id, "part": part, "payload": payload}))
        # Twice: the dashboard reads an attribute that is JSON text.
        value = json.dumps(json.dumps(meta))
        statements.append((sql.ATTACH, {"study_id": study_id, "key": PREFIX + artifact_id, "value": value}))
    if statements:
        # One at a time: two results of one study may be written at once.
        run_together(engine, [(LOCK_STUDY, {"study_id": study_id}), *statements])


def attachments(engine: Engine, study_id: int) -> list[Attachment]:
    """Return the study's files, by their names."""
    rows = run(engine, sql.ATTACHED, study_id=study_id, prefix=f"{PREFIX}{OURS}-{study_id}-%")
    metas = [json.loads(json.loads(row.value_json)) for row in rows]
    return sorted((Attachment(own["filename"], own["artifact_id"]) for own in metas), key=lambda own: own.name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def content_of(engine: Engine, attachment: Attachment) -> bytes:
    """Return a file's content. Raises ArtifactNotFound where another has taken its place."""
    with PostgresArtifactStore(engine).open_reader(attachment.artifact_id) as reader:
        return reader.read()
