"""Connections: a first answer or an error message, then retries while the server is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

import castpool.storage.connection.idle_connections
from castpool.storage.connection.engine import connect, is_transient, retry_during_outage, run, run_together
from castpool.storage.errors import StorageUnreachableError, StorageURLError
from castpool.storage.url import parse
from tests.storage.helpers import breaking_before_statement, connections, eventually, losing_answer, watcher


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(parse(database), "test engine")
    yield opened
    opened.dispose()


def test_nothing_listening_is_said_within_the_patience_and_without_the_password() -> None:
    with socket.socket() as unheard:  # bound and not listening, so the port stays free
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

    before = retry_during_outage(who)
    with breaking_before_statement(engine) as cut:
        after = retry_during_outage(who)

    assert len(cut) == 1
    assert after[0] != before[0], "it continued with a new connection"
    assert after[1] == "test engine"


def test_patience_outlasts_a_lost_answer(engine: Engine) -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))

    with losing_answer(engine):
        retry_during_outage(write)

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
        retry_during_outage(ask)

    assert len(calls) == 1


def test_when_patience_ends_the_original_error_is_raised() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise OperationalError("SELECT 1", {}, Exception("the server is away"))

    start = time.monotonic()
    with pytest.raises(OperationalError, match="the server is away"):
        retry_during_outage(fail, patience_seconds=0.4)

    assert len(calls) > 1
    assert time.monotonic() - start < 2


def test_optunas_wrapping_is_looked_through() -> None:
    def wrapped(cause: Exception) -> StorageInternalError:
        error = StorageInternalError("An exception is raised during the commit.")
        error.__cause__ = cause
        return error

    assert is_transient(wrapped(OperationalError("", {}, Exception())))
    assert not is_transient(wrapped(IntegrityError("", {}, Exception())))
    assert not is_transient(StorageInternalError("without a cause"))
    assert not is_transient(ValueError("no error of the storage"))


def settings(engine: Engine) -> dict[str, str]:
    names = ("statement_timeout", "lock_timeout", "default_transaction_isolation", "application_name")
    with engine.connect() as connection:
        return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}


def test_no_statement_waits_for_ever(engine: Engine) -> None:
    assert settings(engine) == {
        "statement_timeout": "5min",
        "lock_timeout": "30s",
        "default_transaction_isolation": "read committed",
        "application_name": "test engine",
    }


def test_the_urls_own_options_win(database: str) -> None:
    url = parse(database).update_query_dict({"options": "-c lock_timeout=7s", "application_name": "mine"})
    opened = connect(url, "castpool")
    assert settings(opened)["lock_timeout"] == "7s"
    assert settings(opened)["statement_timeout"] == "5min"
    opened.dispose()


def test_a_connection_is_kept_while_the_server_has_many(database: str) -> None:
    with watcher(database) as watch:
        opened = connect(parse(database), "roomy")
        run(opened, "SELECT 1")
        assert connections(watch, "roomy") == 1
        opened.dispose()


def test_and_given_back_after_each_use_while_it_has_few(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(castpool.storage.connection.idle_connections, "SHORT_SHARE", 0.0)
    with watcher(database) as watch:
        opened = connect(parse(database), "short")
        for number in range(3):
            assert run(opened, "SELECT %(number)s::int AS n", number=number) == [(number,)]
            assert eventually(lambda: connections(watch, "short") == 0)
        opened.dispose()


def test_statements_that_run_together_are_one_transaction(engine: Engine) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        run_together(engine, [("CREATE TABLE apart (n int)", {}), ("SELECT 1 / %(zero)s", {"zero": 0})])

    assert run(engine, "SELECT to_regclass('apart') AS found") == [(None,)]
    made, found = run_together(engine, [("SELECT 1 AS n", {}), ("SELECT %(n)s::int AS n", {"n": 2})])
    assert (made[0].n, found[0].n) == (1, 2)
