"""Data sets in the database by the hash of their content, so that a worker needs only the storage URL."""

from __future__ import annotations

import hashlib

from sqlalchemy.engine import Engine

from castpool.storage.connection.engine import run
from castpool.storage.errors import StorageError
from castpool.storage.sql import datasets as sql


def sha256_of(payload: bytes) -> str:
    """Return the hash under which a data set of these bytes is stored."""
    return hashlib.sha256(payload).hexdigest()


def put(engine: Engine, payload: bytes) -> str:
    """Store a data set and return its hash. Equal bytes are stored once."""
    sha256 = sha256_of(payload)
    run(engine, sql.INSERT, sha256=sha256, payload=payload)
    return sha256


def get(engine: Engine, sha256: str) -> bytes:
    """Return the bytes of a data set.

    Raises:
        StorageError: it is missing, or its bytes do not match the hash.
    """
    rows = run(engine, sql.SELECT, sha256=sha256)
    if not rows:
        raise StorageError(f"data set {sha256[:12]} is not in the storage; create the study again.")
    payload = bytes(rows[0].payload)
    if sha256_of(payload) != sha256:
        raise StorageError(f"data set {sha256[:12]} was changed in the storage; create the study again under --name.")
    return payload
