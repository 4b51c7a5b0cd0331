"""Create the tables once, migrate those of an older version, and refuse those of a newer one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from alembic.script import ScriptDirectory
from optuna import __version__ as optuna_version
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ProgrammingError

from castpool.private_api.optuna import table_migrations
from castpool.storage.connection.engine import transaction
from castpool.storage.errors import SchemaVersionError, StorageError
from castpool.storage.sql import schema as sql
from castpool.storage.url import redacted

VERSION = 4
# An arbitrary number that no other program uses: all processes that create tables wait for this lock.
ADVISORY_LOCK = 0x63617374706F6F6C


def ensure(engine: Engine, create_optuna_tables: Callable[[], object]) -> None:
    """Create or migrate the tables, once, however many processes ask at the same moment.

    Args:
        engine: the database.
        create_optuna_tables: creates Optuna's tables, or refuses those of an older Optuna.

    Raises:
        SchemaVersionError: the tables are of a castpool or an Optuna that this castpool does not know.
        StorageError: the user may not create tables, or not read the existing ones.
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
            "created them, or another database."
        )
    if _known_optuna_revision(engine) != optuna_revisions()[0]:
        create_optuna_tables()


@cache
def optuna_revisions() -> tuple[str, ...]:
    """Return the revisions of Optuna's tables that the installed Optuna knows, the one that it works on first."""
    scripts = ScriptDirectory(str(table_migrations()))
    return tuple(script.revision for script in scripts.walk_revisions())


def _known_optuna_revision(engine: Engine) -> str | None:
    """Return the revision of Optuna's tables, None before there are any.

    Raises:
        SchemaVersionError: the installed Optuna does not know the revision.
    """
    with engine.connect() as connection:
        if connection.exec_driver_sql(sql.OPTUNA_EXISTS).scalar() is None:
            return None
        found = connection.exec_driver_sql(sql.OPTUNA_REVISION).scalar()
    known = optuna_revisions()
    if found is not None and found not in known:
        raise SchemaVersionError(
            f"storage: Optuna's tables are of revision {found}, and the installed Optuna {optuna_version} knows "
            f"{', '.join(known)}; install the Optuna that created them, or use another database."
        )
    return found


def _ensure(engine: Engine, create_optuna_tables: Callable[[], object]) -> int:
    if (version := _version(engine)) is not None and version >= VERSION:
        return version
    with transaction(engine) as connection:
        # Held until this transaction ends; Optuna's own connection creates its tables meanwhile.
        connection.exec_driver_sql(sql.LOCK, {"key": ADVISORY_LOCK})
        # Read in another transaction: one that began before the wait may not see the tables.
        if (version := _version(engine)) is not None and version >= VERSION:
            return version
        _known_optuna_revision(engine)
        if version is None:
            create_optuna_tables()
        connection.exec_driver_sql(sql.TABLES)
        if version is not None:
            connection.exec_driver_sql(sql.BUDGETS_FROM_COLUMNS)
        connection.exec_driver_sql(sql.SET_VERSION, {"version": VERSION})
        return VERSION


def _version(engine: Engine) -> int | None:
    with engine.connect() as connection:
        if connection.exec_driver_sql(sql.EXISTS).scalar() is None:
            return None
        return connection.exec_driver_sql(sql.VERSION).scalar()
