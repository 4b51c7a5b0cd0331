"""Optuna's own sampler tests on every sampler of ours, their studies in PostgreSQL; half of them in `make test-all`."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from storage.store import Store
from tests.unit import test_sampler_conformance as conformance

pytestmark = [*conformance.pytestmark, pytest.mark.filterwarnings("ignore:Heartbeat of storage")]


@pytest.fixture(autouse=True)
def studies_in_postgresql(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the studies of the suite, which name no storage, be in ours."""
    plain = optuna.storages.get_storage

    def get_storage(storage: Any) -> BaseStorage:
        return store.trials if storage is None else plain(storage)

    monkeypatch.setattr(optuna.storages, "get_storage", get_storage)


@pytest.mark.slow
class TestCurveGP(conformance.TestCurveGP):
    """Learns from curves."""


class TestExhaustive(conformance.TestExhaustive):
    """Goes through all."""


class TestNumberedQMC(conformance.TestNumberedQMC):
    """Draws by the trial's number."""


@pytest.mark.slow
class TestPhased(conformance.TestPhased):
    """One after the other."""
