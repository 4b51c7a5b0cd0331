"""Optuna's own tests for storages, whole, on the storage that studies are given."""

from __future__ import annotations

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from castpool.storage.store import Store

pytestmark = pytest.mark.smoke


class TestPoolStorage(StorageTestCase):
    """All of them, without an exception."""

    @pytest.fixture
    def storage(self, store: Store) -> BaseStorage:
        return store.trials
