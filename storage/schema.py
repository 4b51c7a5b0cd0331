"""castpool's own tables, beside Optuna's in the same database.

castpool_studies   what a study is made of: spec, identity, plan, data set
castpool_slots     the trial budget: one row a slot; who holds it, until when, and how it ended
castpool_workers   who works or worked, and the last beat of each
castpool_datasets  data sets by the SHA-256 of their bytes

Lock order, everywhere: the study's row, then slots in ascending order, then Optuna's trials. A worker's own writes
lock one row at a time; only `studies.create_or_resume` (study, slots) and `reaper.reap` (slots, trials) lock several.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from optuna.storages import _rdb as optuna_tables
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ProgrammingError

from storage.engine import transaction
from storage.errors import SchemaVersionError, StorageError
from storage.url import redacted

VERSION = 1
# Any number that nobody else uses: all processes that create tables wait for each other on it.
ADVISORY_LOCK = 0x63617374706F6F6C

TABLES = """
CREATE TABLE IF NOT EXISTS castpool_schema (version integer NOT NULL);

CREATE TABLE IF NOT EXISTS castpool_datasets (
    sha256     text PRIMARY KEY,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS castpool_studies (
    study_id   integer PRIMARY KEY REFERENCES studies (study_id) ON DELETE CASCADE,
    spec       jsonb NOT NULL,
    identity   jsonb NOT NULL,
    plan       jsonb NOT NULL,
    dataset    text NOT NULL REFERENCES castpool_datasets (sha256),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS castpool_workers (
    worker_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id   integer NOT NULL REFERENCES castpool_studies (study_id) ON DELETE CASCADE,
    host       text NOT NULL,
    pid        integer NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    last_beat  timestamptz NOT NULL DEFAULT now(),
    left_at    timestamptz
);
CREATE INDEX IF NOT EXISTS castpool_workers_by_study ON castpool_workers (study_id);

CREATE TABLE IF NOT EXISTS castpool_slots (
    study_id    integer NOT NULL REFERENCES castpool_studies (study_id) ON DELETE CASCADE,
    slot        integer NOT NULL,
    attempt     integer NOT NULL DEFAULT 0,
    params      jsonb,
    trial_id    integer,
    worker_id   bigint REFERENCES castpool_workers (worker_id),
    lease_until timestamptz,
    ended_at    timestamptz,
    outcome     text,
    PRIMARY KEY (study_id, slot)
);
CREATE INDEX IF NOT EXISTS castpool_slots_open ON castpool_slots (study_id, slot) WHERE ended_at IS NULL;
"""


def ensure(engine: Engine, create_optuna_tables: Callable[[], object]) -> None:
    """Create what is missing, once, however many processes ask at the same moment.

    Args:
        engine: the database.
        create_optuna_tables: creates Optuna's tables, or refuses those of another Optuna.

    Raises:
        SchemaVersionError: the tables are another castpool's.
        StorageError: the user may not create tables, or not read those that are there.
    """
    try:
        version = _ensure(engine, create_optuna_tables)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise StorageError(
            f"storage: {redacted(engine.url)} refuses its user ({str(error.orig).splitlines()[0]}); connect as the "
            "owner of the database, or let the owner grant that user CREATE on the schema and ALL on its tables."
        ) from None
    if version != VERSION:
        raise SchemaVersionError(
            f"storage: its tables are of version {version} and this castpool needs {VERSION}; use the castpool that "
            "made them, or another database."
        )
    if _optuna_version(engine) != optuna_head():
        create_optuna_tables()


@cache
def optuna_head() -> str | None:
    """Return the version of the tables that the installed Optuna works on."""
    return ScriptDirectory(str(Path(optuna_tables.__file__).parent / "alembic")).get_current_head()


def _optuna_version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _ensure(engine: Engine, create_optuna_tables: Callable[[], object]) -> int:
    if (version := _version(engine)) is not None:
        return version
    with transaction(engine) as connection:
        # Held until this transaction ends; Optuna's own connection creates its tables meanwhile.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        # Looked up in another transaction: one that began before the wait may still remember that there is no table.
        if (version := _version(engine)) is not None:
            return version
        create_optuna_tables()
        connection.execute(text(TABLES))
        connection.execute(text("INSERT INTO castpool_schema VALUES (:version)"), {"version": VERSION})
        return VERSION


def _version(engine: Engine) -> int | None:
    with engine.connect() as connection:
        if connection.execute(text("SELECT to_regclass('castpool_schema')")).scalar() is None:
            return None
        return connection.execute(text("SELECT max(version) FROM castpool_schema")).scalar()
