"""Connections: a first answer or a sentence, then patience with a server that goes away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from storage.engine import connect, is_passing, patiently
from storage.errors import StorageUnreachableError, StorageURLError
from storage.url import parse
from tests.storage.helpers import breaking_before_statement, losing_answer


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(parse(database), "test engine")
    yield opened
    opened.dispose()


def test_nothing_listening_is_said_within_the_patience_and_without_the_password() -> None:
    with socket.socket() as unheard:  # bound and not listening, so the port stays nobody's
        unheard.bind(("127.0.0.1", 0))
        url = parse(f"postgresql://ann:secret@127.0.0.1:{unheard.getsockname()[1]}/studies?password=secret")
        start = time.monotonic()

        with pytest.raises(StorageUnreachableError) as caught:
            connect(url, "test", patience_seconds=0.3)

    assert time.monotonic() - start < 3
    message = str(caught.value)
    assert "does not answer (connection failed" in message
    assert message.endswith("check host, port, user and password (PGPASSWORD or ~/.pgpass).")
    assert "secret" not in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__, "a traceback would print the URL"
    assert caught.value.exit_code == 3


def test_a_database_that_is_not_there_is_named(database: str) -> None:
    url = parse(database).set(database="nowhere")

    with pytest.raises(StorageUnreachableError, match='database "nowhere" does not exist'):
        connect(url, "test", patience_seconds=0.1)


def test_an_unknown_option_in_the_url_is_named() -> None:
    with pytest.raises(StorageURLError, match='invalid connection option "speed"; leave it out'):
        connect(parse("postgresql://ann@127.0.0.1:1/studies?speed=high"), "test", patience_seconds=0.1)


def test_patience_outlasts_a_connection_that_the_server_ends(engine: Engine) -> None:
    def who() -> tuple[int, str]:
        with engine.begin() as connection:
            pid, name = connection.execute(text("SELECT pg_backend_pid(), current_setting('application_name')")).one()
            return pid, name

    before = patiently(who)
    with breaking_before_statement(engine) as cut:
        after = patiently(who)

    assert len(cut) == 1
    assert after[0] != before[0], "it went on with a new connection"
    assert after[1] == "test engine"


def test_patience_outlasts_a_lost_answer(engine: Engine) -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))

    with losing_answer(engine):
        patiently(write)

    assert len(calls) == 2


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELEC 1", ProgrammingError),
        ("INSERT INTO pg_temp.t VALUES (1), (1)", IntegrityError),
    ],
)
def test_what_was_asked_wrongly_is_asked_once(engine: Engine, statement: str, error: type[Exception]) -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        with engine.begin() as connection:
            connection.execute(text("CREATE TEMP TABLE t (n int PRIMARY KEY)"))
            connection.execute(text(statement))

    with pytest.raises(error):
        patiently(ask)

    assert len(calls) == 1


def test_when_patience_ends_the_original_error_is_raised() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise OperationalError("SELECT 1", {}, Exception("the server is away"))

    start = time.monotonic()
    with pytest.raises(OperationalError, match="the server is away"):
        patiently(fail, patience_seconds=0.4)

    assert len(calls) > 1
    assert time.monotonic() - start < 2


def test_optunas_wrapping_is_looked_through() -> None:
    def wrapped(cause: Exception) -> StorageInternalError:
        error = StorageInternalError("An exception is raised during the commit.")
        error.__cause__ = cause
        return error

    assert is_passing(wrapped(OperationalError("", {}, Exception())))
    assert not is_passing(wrapped(IntegrityError("", {}, Exception())))
    assert not is_passing(StorageInternalError("nothing behind it"))
    assert not is_passing(ValueError("not the storage's"))
