"""The files of a study: stored in the database, and shown by optuna-dashboard with the study.

A file's artifact is named after its content, so a file that is attached twice is stored once, and new content replaces
the file of the same name.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine

from castpool import attributes
from castpool.storage.connection.engine import run, run_together
from castpool.storage.files.artifacts import PART_BYTES, PostgresArtifactStore
from castpool.storage.sql import artifacts as sql
from castpool.storage.sql.studies import LOCK_STUDY

# The first part of our artifacts' names; optuna-dashboard serves names of hexadecimal digits and dashes.
OURS = "f11e"


@dataclass(frozen=True)
class Attachment:
    """A file of a study."""

    name: str
    artifact_id: str

    @property
    def digest(self) -> str:
        """The beginning of the content's SHA-256, which identifies it."""
        return self.artifact_id.rpartition("-")[2]


def attach_files(engine: Engine, study_id: int, files: Mapping[str, bytes]) -> None:
    """Store files with a study, each in place of the one of its name; all of them, or none."""
    statements: list[tuple[str, dict[str, Any]]] = []
    stored = {file.artifact_id for file in list_attachments(engine, study_id)}
    for name, content in files.items():
        of_this_name = f"{OURS}-{study_id}-{_digest(name.encode())[:8]}-"
        artifact_id = of_this_name + _digest(content)
        if artifact_id in stored:
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
        # Encoded twice: the dashboard reads an attribute that is itself JSON text.
        value = json.dumps(json.dumps(meta))
        statements.append(
            (sql.ATTACH, {"study_id": study_id, "key": attributes.ARTIFACTS + artifact_id, "value": value})
        )
    if statements:
        # Under the study's lock: two results of one study may be written at the same time.
        run_together(engine, [(LOCK_STUDY, {"study_id": study_id}), *statements])


def list_attachments(engine: Engine, study_id: int) -> list[Attachment]:
    """Return the study's files, sorted by name."""
    rows = run(engine, sql.ATTACHED, study_id=study_id, prefix=f"{attributes.ARTIFACTS}{OURS}-{study_id}-%")
    metas = [json.loads(json.loads(row.value_json)) for row in rows]
    return sorted((Attachment(meta["filename"], meta["artifact_id"]) for meta in metas), key=lambda file: file.name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def read_attachment(engine: Engine, attachment: Attachment) -> bytes:
    """Return a file's content. Raises ArtifactNotFound if the file was replaced."""
    with PostgresArtifactStore(engine).open_reader(attachment.artifact_id) as reader:
        return reader.read()
