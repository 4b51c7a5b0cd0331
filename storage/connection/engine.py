"""Connections: one engine for each process, and retries while the server is away.

Each statement is one transaction and one round trip, unless it runs in `transaction` or `run_together`. No statement
needs session state from an earlier one, and prepared statements are off, so a connection pooler in transaction mode
works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import tenacity
from optuna.exceptions import StorageInternalError
from psycopg.rows import namedtuple_row
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from castpool.storage.connection.idle_connections import watch_connections
from castpool.storage.connection.wait_timer import time_storage_wait
from castpool.storage.errors import StorageUnreachableError, StorageURLError
from castpool.storage.url import redacted

log = logging.getLogger("castpool.storage")
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 10
SETTINGS = {
    # The statements of slots, reaper and trials rely on this, whatever the server's default is.
    "default_transaction_isolation": "read\\ committed",
    "statement_timeout": "300s",
    "lock_timeout": "30s",
    # A worker that hangs in the middle of a transaction loses its locks after this time.
    "idle_in_transaction_session_timeout": "60s",
}
# What the server answers when it has no connection left: for ordinary users, and for all but superusers.
FULL = ("too many clients", "connection slots are reserved")
FIRST_PATIENCE_SECONDS = 5.0
WORKING_PATIENCE_SECONDS = 600.0


def engine_options(url: URL, application_name: str) -> dict[str, Any]:
    """Return the options of every engine that castpool makes, including the one that creates Optuna's tables."""
    settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    return {
        "pool_size": 1,
        "max_overflow": 2,
        "connect_args": {
            "application_name": application_name[:63],
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "prepare_threshold": None,
            # Options of the URL come later, and win.
            "options": f"{settings} {url.query.get('options', '')}".strip(),
            # A server that lost power closes no connection: detect that in 30 s, which is less than a lease.
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    }


def connect(url: URL, application_name: str, patience_seconds: float = FIRST_PATIENCE_SECONDS) -> Engine:
    """Return an engine whose server has answered.

    Raises:
        StorageUnreachableError: it did not answer within ``patience_seconds``.
        StorageURLError: the URL has an option that PostgreSQL's client does not know.
    """
    engine = create_engine(url, isolation_level="AUTOCOMMIT", **engine_options(url, application_name))
    watch_connections(engine)

    def answer() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    try:
        try:
            retry_during_outage(answer, patience_seconds)
        except OperationalError as error:
            if not any(message in str(error) for message in FULL):
                raise
            retry_during_outage(answer)  # the server runs and is full: a connection will become free
    except (OperationalError, InterfaceError) as error:
        engine.dispose()
        raise unreachable_error(url, error) from None
    except ProgrammingError as error:
        engine.dispose()
        raise StorageURLError(f"storage: got {redacted(url)}, which has an {_cause(error)}; leave it out.") from None
    return engine


def unreachable_error(url: URL, error: DBAPIError) -> StorageUnreachableError:
    """Return the error for a server that did not answer in the time allowed."""
    return StorageUnreachableError(
        f"storage: {redacted(url)} does not answer ({_cause(error)}); start the server, or check host, port, user "
        "and password (PGPASSWORD or ~/.pgpass)."
    )


def is_transient(error: BaseException) -> bool:
    """Whether the error means that the server is away, restarting or full, and not that the statement is wrong."""
    # Optuna wraps the error, and may use a session again whose connection has just broken.
    while isinstance(error, StorageInternalError | PendingRollbackError):
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    passing = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError)
    return isinstance(error, passing)


def retry_during_outage(action: Callable[[], T], patience_seconds: float = WORKING_PATIENCE_SECONDS) -> T:
    """Run the action, and repeat it with growing pauses while the server is away.

    The action must be safe to repeat: if its answer was lost, it may have been done. When ``patience_seconds`` have
    passed, the last error is raised.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=tenacity.stop_before_delay(patience_seconds),
        before_sleep=_log_outage,
        reraise=True,
    )
    with time_storage_wait():
        return retrying(action)


def run(engine: Engine, statement: str, **arguments: Any) -> Sequence[Row[Any]]:
    """Run one statement, which must be safe to repeat, and return its rows. One round trip."""

    def execute() -> Sequence[Row[Any]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement, arguments)
            return result.all() if result.returns_rows else []

    return retry_during_outage(execute)


def run_together(
    engine: Engine,
    statements: Sequence[tuple[str, Mapping[str, Any]]],
    afterwards: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> list[list[Any]]:
    """Run statements in one transaction, and others after its commit; return the rows of each statement.

    This takes one round trip, so no statement can use another's answer. The whole must be safe to repeat.
    """

    def execute() -> list[list[Any]]:
        with engine.begin() as connection:
            driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
            try:
                with driver.pipeline() as pipeline:  # everything until a sync, or the end, is one transaction
                    cursors = [_send(driver, *statement) for statement in statements]
                    if afterwards:
                        pipeline.sync()
                        cursors += [_send(driver, *statement) for statement in afterwards]
                return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
            except psycopg.OperationalError:
                connection.invalidate()
                raise

    return retry_during_outage(execute)


def _send(driver: psycopg.Connection[Any], statement: str, arguments: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    return driver.cursor(row_factory=namedtuple_row).execute(statement, arguments)


@contextmanager
def transaction(engine: Engine, isolation_level: str = "READ COMMITTED") -> Iterator[Connection]:
    """Run several statements in one transaction, where one may depend on another's answer: all happen, or none."""
    with time_storage_wait(), engine.execution_options(isolation_level=isolation_level).begin() as connection:
        yield connection


def _log_outage(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("the storage does not answer; waiting for it")


def _cause(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error).__name__
