"""The advisory lock for work that one process at a time does."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from castpool.storage.connection import engine
from castpool.storage.connection.advisory_lock import hold_lock
from castpool.storage.store import Store, open_store
from tests.storage.helpers import eventually, execute


def test_one_holds_it_and_no_other_waits(store: Store, database: str) -> None:
    with open_store(database) as other, hold_lock(store.engine, "mlflow", 7) as is_ours:
        assert is_ours
        with hold_lock(other.engine, "mlflow", 7) as is_theirs:
            assert not is_theirs
        for purpose, number in (("mlflow", 8), ("other", 7)):
            with hold_lock(other.engine, purpose, number) as is_theirs:
                assert is_theirs
    with hold_lock(store.engine, "mlflow", 7) as is_ours:
        assert is_ours


def test_it_dies_with_its_holder(store: Store, database: str) -> None:
    def is_free() -> bool:
        with hold_lock(store.engine, "mlflow", 7) as is_ours:
            return is_ours

    with (
        pytest.raises(OperationalError),
        open_store(database, application_name="holder") as other,
        hold_lock(other.engine, "mlflow", 7),
    ):
        execute(store, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'")
        assert eventually(is_free)


def test_it_is_held_for_as_long_as_the_work_takes(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.SETTINGS, "idle_in_transaction_session_timeout", "100ms")
    with open_store(database) as impatient, hold_lock(impatient.engine, "mlflow", 7) as is_ours:
        assert is_ours
        execute(store, "SELECT pg_sleep(0.4)")
        with hold_lock(store.engine, "mlflow", 7) as is_theirs:
            assert not is_theirs
