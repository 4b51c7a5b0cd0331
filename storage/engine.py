"""Connections: one engine a process, and patience with a server that goes away.

Each statement is a transaction of its own and one round trip, unless `transaction` or `run_together` says otherwise.
No state of the session is needed from one statement to the next, and prepared statements are off, so that a
connection pooler in transaction mode can stand between.
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

from storage.errors import StorageUnreachableError, StorageURLError
from storage.stopwatch import waiting
from storage.thrift import watch
from storage.url import redacted

log = logging.getLogger("castpool.storage")
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 10
SETTINGS = {
    # What the statements of slots, reaper and trials rely on, whatever the server's default.
    "default_transaction_isolation": "read\\ committed",
    "statement_timeout": "300s",
    "lock_timeout": "30s",
    # Of a worker that hangs in the middle of one: nobody waits longer for its locks.
    "idle_in_transaction_session_timeout": "60s",
}
# How the server says that it has none left, to a user and to all but its owner.
FULL = ("too many clients", "connection slots are reserved")
FIRST_PATIENCE_SECONDS = 5.0
WORKING_PATIENCE_SECONDS = 600.0


def engine_options(url: URL, application_name: str) -> dict[str, Any]:
    """Return what every engine of castpool's is made with, that for Optuna's tables included."""
    settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    return {
        "pool_size": 1,
        "max_overflow": 2,
        "connect_args": {
            "application_name": application_name[:63],
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "prepare_threshold": None,
            # The URL's own come later, and win.
            "options": f"{settings} {url.query.get('options', '')}".strip(),
            # A server that lost its power says no goodbye: notice within half a minute, less than a lease.
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
    watch(engine)

    def answer() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    try:
        try:
            patiently(answer, patience_seconds)
        except OperationalError as error:
            if not any(own in str(error) for own in FULL):
                raise
            patiently(answer)  # it is there, and busy: somebody will leave
    except (OperationalError, InterfaceError) as error:
        engine.dispose()
        raise unreachable(url, error) from None
    except ProgrammingError as error:
        engine.dispose()
        raise StorageURLError(f"storage: got {redacted(url)}, which has an {_cause(error)}; leave it out.") from None
    return engine


def unreachable(url: URL, error: DBAPIError) -> StorageUnreachableError:
    """Return what to say of a server that has not answered for as long as was waited for it."""
    return StorageUnreachableError(
        f"storage: {redacted(url)} does not answer ({_cause(error)}); start the server, or check host, port, user "
        "and password (PGPASSWORD or ~/.pgpass)."
    )


def is_passing(error: BaseException) -> bool:
    """Whether the error is one of a server that is away, restarting or full, and not of what was asked."""
    # Optuna wraps what went wrong, and asks on in a session whose connection has just broken.
    while isinstance(error, StorageInternalError | PendingRollbackError):
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    passing = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError)
    return isinstance(error, passing)


def patiently(action: Callable[[], T], patience_seconds: float = WORKING_PATIENCE_SECONDS) -> T:
    """Run the action, again and again with growing pauses while the server is away.

    The action must be safe to repeat: one whose answer was lost may have been done. The last error is raised when
    patience ends.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_passing),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=tenacity.stop_before_delay(patience_seconds),
        before_sleep=_say,
        reraise=True,
    )
    with waiting():
        return retrying(action)


def run(engine: Engine, statement: str, **arguments: Any) -> Sequence[Row[Any]]:
    """Run one statement, which must be safe to repeat, and return its rows. One round trip."""

    def execute() -> Sequence[Row[Any]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement, arguments)
            return result.all() if result.returns_rows else []

    return patiently(execute)


def run_together(
    engine: Engine,
    statements: Sequence[tuple[str, Mapping[str, Any]]],
    afterwards: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> list[list[Any]]:
    """Run statements in one transaction, and others after its commit; return the rows of each.

    One round trip: none sees another's answer. The whole must be safe to repeat.
    """

    def execute() -> list[list[Any]]:
        with engine.begin() as connection:
            driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
            try:
                with driver.pipeline() as pipeline:  # what is sent until a sync, or the end, is one transaction
                    cursors = [_sent(driver, *own) for own in statements]
                    if afterwards:
                        pipeline.sync()
                        cursors += [_sent(driver, *own) for own in afterwards]
                return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
            except psycopg.OperationalError:
                connection.invalidate()
                raise

    return patiently(execute)


def _sent(driver: psycopg.Connection[Any], statement: str, arguments: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    return driver.cursor(row_factory=namedtuple_row).execute(statement, arguments)


@contextmanager
def transaction(engine: Engine, isolation_level: str = "READ COMMITTED") -> Iterator[Connection]:
    """Several statements, of which one may depend on another's answer: all of them happen, or none."""
    with waiting(), engine.execution_options(isolation_level=isolation_level).begin() as connection:
        yield connection


def _say(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("the storage does not answer; waiting for it")


def _cause(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error).__name__
