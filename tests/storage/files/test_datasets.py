"""Data sets by the hash of their bytes."""

from __future__ import annotations

import hashlib

import pytest

from castpool.storage.errors import StorageError
from castpool.storage.files import datasets
from castpool.storage.store import Store
from tests.storage.helpers import execute, losing_answer

PAYLOAD = b"PAR1" + bytes(range(256)) * 4


def test_what_was_put_comes_back(store: Store) -> None:
    sha256 = datasets.put(store.engine, PAYLOAD)

    assert sha256 == hashlib.sha256(PAYLOAD).hexdigest()
    assert datasets.get(store.engine, sha256) == PAYLOAD


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    with losing_answer(store.engine):
        datasets.put(store.engine, PAYLOAD)
    datasets.put(store.engine, PAYLOAD)
    datasets.put(store.engine, PAYLOAD + b"!")

    assert execute(store, "SELECT length(payload) FROM castpool_datasets ORDER BY 1") == [(1028,), (1029,)]


def test_bytes_that_were_changed_are_refused(store: Store) -> None:
    sha256 = datasets.put(store.engine, PAYLOAD)
    execute(store, "UPDATE castpool_datasets SET payload = set_byte(payload, 100, 255)")

    with pytest.raises(StorageError, match=f"data set {sha256[:12]} was changed in the storage"):
        datasets.get(store.engine, sha256)


def test_an_unknown_hash_is_named(store: Store) -> None:
    with pytest.raises(StorageError, match="data set 0123456789ab is not in the storage; create the study again"):
        datasets.get(store.engine, "0123456789abcdef")
