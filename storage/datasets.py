"""Data sets by the hash of their content: a worker needs the storage URL and nothing else."""

from __future__ import annotations

import hashlib

from sqlalchemy import text
from sqlalchemy.engine import Engine

from storage.engine import patiently
from storage.errors import StorageError

INSERT = text("INSERT INTO castpool_datasets (sha256, payload) VALUES (:sha256, :payload) ON CONFLICT DO NOTHING")
SELECT = text("SELECT payload FROM castpool_datasets WHERE sha256 = :sha256")


def sha256_of(payload: bytes) -> str:
    """Return the name under which a data set of these bytes is kept."""
    return hashlib.sha256(payload).hexdigest()


def put(engine: Engine, payload: bytes) -> str:
    """Keep a data set and return its hash. The same bytes are kept once."""
    sha256 = sha256_of(payload)

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(INSERT, {"sha256": sha256, "payload": payload})

    patiently(write)
    return sha256


def get(engine: Engine, sha256: str) -> bytes:
    """Return the bytes of a data set.

    Raises:
        StorageError: it is not there, or not what its hash says.
    """

    def read() -> bytes | None:
        with engine.connect() as connection:
            return connection.execute(SELECT, {"sha256": sha256}).scalar()

    payload = patiently(read)
    if payload is None:
        raise StorageError(f"data set {sha256[:12]} is not in the storage; create the study again.")
    if sha256_of(payload) != sha256:
        raise StorageError(f"data set {sha256[:12]} was changed in the storage; create the study again under --name.")
    return payload
