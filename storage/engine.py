"""Connections: one engine a process, and patience with a server that goes away.

A worker holds one connection while it speaks to the database; its heartbeat takes a second one for a
moment. Prepared statements are off, so that a connection pooler in transaction mode can stand between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import tenacity
from optuna.exceptions import StorageInternalError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from storage.errors import StorageUnreachableError
from storage.url import redacted

log = logging.getLogger("castpool.storage")
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 10
FIRST_PATIENCE_SECONDS = 5.0
WORKING_PATIENCE_SECONDS = 600.0


def engine_options(application_name: str) -> dict[str, Any]:
    """Return what every engine of castpool's is made with, Optuna's own included."""
    return {
        "pool_size": 1,
        "max_overflow": 2,
        "pool_pre_ping": True,
        "connect_args": {
            "application_name": application_name[:63],
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "prepare_threshold": None,
        },
    }


def connect(url: URL, application_name: str, patience_seconds: float = FIRST_PATIENCE_SECONDS) -> Engine:
    """Return an engine whose server has answered.

    Raises:
        StorageUnreachableError: it did not answer within ``patience_seconds``.
    """
    engine = create_engine(url, **engine_options(application_name))

    def answer() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    try:
        patiently(answer, patience_seconds)
    except (OperationalError, InterfaceError) as error:
        engine.dispose()
        cause = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
        raise StorageUnreachableError(
            f"storage: {redacted(url)} does not answer ({cause}); start the server, or check host, port, user and "
            "password (PGPASSWORD or ~/.pgpass)."
        ) from None
    return engine


def is_passing(error: BaseException) -> bool:
    """Whether the error is one of a server that is away, restarting or full, and not of what was asked."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, DBAPIError) and cause.connection_invalidated:
        return True
    return isinstance(cause, OperationalError | InterfaceError)


def patiently(action: Callable[[], T], patience_seconds: float = WORKING_PATIENCE_SECONDS) -> T:
    """Run the action, again and again with growing pauses while the server is away.

    The action must be safe to repeat. The last error is raised when patience ends.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_passing),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=tenacity.stop_after_delay(patience_seconds),
        before_sleep=_say,
        reraise=True,
    )
    return retrying(action)


def _say(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("the storage does not answer; waiting for it")
