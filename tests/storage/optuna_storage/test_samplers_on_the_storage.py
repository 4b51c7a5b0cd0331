"""Optuna's conformance tests on castpool's samplers, with studies in PostgreSQL; slow ones run in `make test-all`."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from castpool.storage.store import Store
from tests.sampler_policies.samplers import test_conformance as conformance

pytestmark = [*conformance.pytestmark, pytest.mark.filterwarnings("ignore:Heartbeat of storage")]


@pytest.fixture(autouse=True)
def studies_in_postgresql(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create the studies of the suite, which name no storage, in castpool's storage."""
    get_optuna_storage = optuna.storages.get_storage

    def get_storage(storage: Any) -> BaseStorage:
        return store.trials if storage is None else get_optuna_storage(storage)

    monkeypatch.setattr(optuna.storages, "get_storage", get_storage)


@pytest.mark.slow
class TestCurveGP(conformance.TestCurveGP):
    """A Gaussian process with learning-curve extrapolation."""


class TestExhaustive(conformance.TestExhaustive):
    """Exhaustive search."""


class TestIndexedQMC(conformance.TestIndexedQMC):
    """The index of a point is the trial's number."""


@pytest.mark.slow
class TestPhased(conformance.TestPhased):
    """A sequence of samplers."""
