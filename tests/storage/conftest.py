"""One open database for all storage tests of a process, emptied after each: to clone and drop one takes a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, Engine, create_engine

from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy
from tests.conftest import _database
from tests.storage.helpers import make_study

# Children first; castpool's tables go with the studies.
TABLES = (
    *(f"trial_{name}" for name in ("heartbeats", "intermediate_values", "params", "system_attributes")),
    *("trial_user_attributes", "trial_values", "trials", "study_directions"),
    *("study_system_attributes", "study_user_attributes", "studies", "castpool_datasets"),
)


@pytest.fixture(scope="session")
def shared_engine(server: URL, template: str) -> Iterator[Engine]:
    for url in _database(server, f"TEMPLATE {template}"):
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # What a commit promises after a power cut is the one thing that is not tested here.
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET synchronous_commit = off"))
        yield engine
        engine.dispose()


@pytest.fixture
def database(shared_engine: Engine) -> Iterator[str]:
    """The URL of a database with castpool's tables and no study."""
    yield shared_engine.url.render_as_string(hide_password=False)
    with shared_engine.connect() as connection:
        connection.execute(text("; ".join(f"DELETE FROM {table}" for table in TABLES)))


@pytest.fixture(scope="session")
def shared_store(shared_engine: Engine) -> Iterator[Store]:
    with open_store(shared_engine.url.render_as_string(hide_password=False)) as opened:
        yield opened


@pytest.fixture
def store(shared_store: Store, database: str) -> Store:
    """An open storage with no study in it."""
    return shared_store


@pytest.fixture
def stored(store: Store) -> StoredStudy:
    """A study of three slots."""
    return make_study(store, trials=3)
