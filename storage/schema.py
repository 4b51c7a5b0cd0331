"""Creating what is missing, once, adding to an older version's tables, and refusing a newer one's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from optuna.storages import _rdb as optuna_tables
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ProgrammingError

from storage.engine import transaction
from storage.errors import SchemaVersionError, StorageError
from storage.sql import schema as sql
from storage.url import redacted

VERSION = 2
# Any number that nobody else uses: all processes that create tables wait for each other on it.
ADVISORY_LOCK = 0x63617374706F6F6C


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
            f"storage: its tables are of version {version} and this castpool knows {VERSION}; use the castpool that "
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
        return connection.exec_driver_sql(sql.OPTUNA_VERSION).scalar()


def _ensure(engine: Engine, create_optuna_tables: Callable[[], object]) -> int:
    if (version := _version(engine)) is not None and version >= VERSION:
        return version
    with transaction(engine) as connection:
        # Held until this transaction ends; Optuna's own connection creates its tables meanwhile.
        connection.exec_driver_sql(sql.LOCK, {"key": ADVISORY_LOCK})
        # Looked up in another transaction: one that began before the wait may still remember that there is no table.
        if (version := _version(engine)) is not None and version >= VERSION:
            return version
        if version is None:
            create_optuna_tables()
        connection.exec_driver_sql(sql.TABLES)
        connection.exec_driver_sql(sql.SET_VERSION, {"version": VERSION})
        return VERSION


def _version(engine: Engine) -> int | None:
    with engine.connect() as connection:
        if connection.exec_driver_sql(sql.EXISTS).scalar() is None:
            return None
        return connection.exec_driver_sql(sql.VERSION).scalar()
