"""Opening the storage: where it is, what it costs in connections, and that nothing of it stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import slots, worker_registry
from castpool.storage.errors import StorageUnreachableError, StorageURLError
from castpool.storage.store import open_store
from tests.storage.helpers import claimed, connections, eventually, load, make_study, watcher


def test_the_environment_names_the_storage(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTPOOL_STORAGE", database)

    with open_store() as store:
        make_study(store)
        assert store.url.render_as_string(hide_password=False) == database
        assert not store.is_embedded


def test_a_url_comes_before_the_environment(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTPOOL_STORAGE", "sqlite:///elsewhere.db")
    with open_store(database) as store:
        assert store.url.render_as_string(hide_password=False) == database

    with pytest.raises(StorageURLError, match="got sqlite:///elsewhere"), open_store():
        pass


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_either_it_is_the_embedded_server(
    server: object, monkeypatch: pytest.MonkeyPatch, nothing: str | None
) -> None:
    monkeypatch.setenv("CASTPOOL_STORAGE", "")

    with open_store(nothing) as store:
        assert store.is_embedded
        assert store.trials.get_all_studies() == []


def test_the_address_is_without_the_password(database: str) -> None:
    url = make_url(database).update_query_dict({"password": "secret"}).render_as_string(hide_password=False)
    with open_store(url) as store:
        assert "secret" not in store.address
        assert store.url.database is not None and store.url.database in store.address


def test_a_server_that_is_away_is_said_in_a_sentence(database: str) -> None:
    url = make_url(database).set(database="nowhere").render_as_string(hide_password=False)
    away = pytest.raises(StorageUnreachableError, match='database "nowhere" does not exist')
    with away, open_store(url, patience_seconds=0.1):
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_no_connection_stays_behind(database: str, fails: bool) -> None:
    with watcher(database) as watch:
        try:
            with open_store(database, application_name="gone soon") as store:
                make_study(store)
                assert connections(watch, "gone soon") == 1
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass

        assert eventually(lambda: connections(watch, "gone soon") == 0)


@contextmanager
def repeating(action: Callable[[], object]) -> Iterator[None]:
    """Do something repeatedly in a thread, and raise its errors."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.is_set():
            action()

    with ThreadPoolExecutor(1) as pool:
        repeated = pool.submit(repeat)
        try:
            yield
        finally:
            is_over.set()
        repeated.result()


def test_a_worker_holds_one_connection_and_its_heartbeat_another_for_a_moment(database: str) -> None:
    """So sixty-four of them fit into the hundred that a server has by default."""
    name = "one worker"
    counted: list[int] = []
    with watcher(database) as watch, open_store(database, application_name=name) as store:
        stored = make_study(store, trials=8)
        worker = worker_registry.join(store.engine, stored.study_id, "host", 1)
        study = load(store)
        with repeating(lambda: counted.append(connections(watch, name))):
            for _ in range(8):
                claim = claimed(store, stored, worker)
                trial = begin_trial(study, claim, {})
                with repeating(partial(slots.beat, store.engine, claim)):
                    for step in range(5):
                        trial.report(trial.suggest_float("x", 0, 1), step)
                        trial.should_prune()
                end_trial(study, trial, claim, TrialState.COMPLETE, 0.5, outcome="complete", user_attrs={})

        assert 2 <= max(counted) <= 3, "two, and at times one that is just closing"
        assert eventually(lambda: connections(watch, name) == 1)
