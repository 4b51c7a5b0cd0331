"""Artifacts (checkpoints and files): in the database itself, or in a store that the user names by URL.

Each store implements Optuna's protocol (`optuna.artifacts`), so Optuna and its dashboard can read it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore, GCSArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy.engine import Engine

from castpool.private_api.optuna import ArtifactStore
from castpool.storage.connection.engine import run, run_together
from castpool.storage.errors import ArtifactURLError
from castpool.storage.sql import artifacts as sql

PART_BYTES = 1 << 20


class PostgresArtifactStore:
    """An Optuna artifact store in the database of the study, so that a worker needs no other service."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the artifact. Raises ArtifactNotFound."""
        rows = run(self.engine, sql.SELECT, artifact_id=artifact_id)
        if not rows:
            raise ArtifactNotFound(f"no artifact {artifact_id!r} in the storage")
        return io.BytesIO(b"".join(bytes(row.payload) for row in rows))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an artifact, completely or not at all, in place of one of the same name."""
        parts: Iterable[bytes] = iter(lambda: content_body.read(PART_BYTES), b"")
        inserts = [
            (sql.INSERT, {"artifact_id": artifact_id, "part": part, "payload": payload})
            for part, payload in enumerate([*parts] or [b""])
        ]
        run_together(self.engine, [(sql.DELETE, {"artifact_id": artifact_id}), *inserts])

    def remove(self, artifact_id: str) -> None:
        """Delete an artifact. Raises ArtifactNotFound."""
        if not run(self.engine, sql.DELETE, artifact_id=artifact_id):
            raise ArtifactNotFound(f"no artifact {artifact_id!r} in the storage")


def checkpoint_name(study_id: int, slot: int, attempt: int, step: int) -> str:
    """Return the name of a checkpoint, by which `delete_orphaned_checkpoints` finds those without a slot."""
    return f"checkpoint-{study_id}-{slot}-{attempt}-{step}"


def delete_orphaned_checkpoints(engine: Engine, study_id: int, grace_seconds: float) -> None:
    """Delete checkpoints in the database that no slot uses and that are older than ``grace_seconds``.

    A worker that was killed while it replaced a checkpoint leaves such checkpoints.
    """
    run(engine, sql.SWEEP, study_id=study_id, grace_seconds=grace_seconds)


def open_artifacts(engine: Engine, url: str | None = None) -> ArtifactStore:
    """Return the store at a URL: ``file:///folder``, ``s3://bucket``, ``gs://bucket``; without one, the database.

    Raises:
        ArtifactURLError: a URL of another kind, or one whose library is not installed.
    """
    if url is None:
        return PostgresArtifactStore(engine)
    parts = urlsplit(url)
    try:
        if parts.scheme == "file" and not parts.netloc and parts.path:
            Path(parts.path).mkdir(parents=True, exist_ok=True)
            return FileSystemArtifactStore(parts.path)
        if parts.scheme == "s3" and parts.netloc and parts.path in ("", "/"):
            return Boto3ArtifactStore(parts.netloc)
        if parts.scheme == "gs" and parts.netloc and parts.path in ("", "/"):
            return GCSArtifactStore(parts.netloc)
    except (ImportError, OSError) as error:
        raise ArtifactURLError(f"artifacts: got {url!r}, which cannot be opened: {error}") from error
    raise ArtifactURLError(
        f"artifacts: got {url!r}; write file:///folder, s3://bucket or gs://bucket, or leave it out for the database."
    )
