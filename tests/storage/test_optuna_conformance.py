"""Optuna's own conformance suite on the storage that castpool gives to studies: nothing in it is overridden."""

from __future__ import annotations

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from storage.store import Store


class TestTrials(StorageTestCase):
    @pytest.fixture
    def storage(self, store: Store) -> BaseStorage:
        return store.trials
