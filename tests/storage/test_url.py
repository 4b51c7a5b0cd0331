"""Which storage URLs are taken, and that none is ever printed with its password."""

from __future__ import annotations

import pytest

from castpool.storage.errors import StorageURLError
from castpool.storage.url import parse, redacted


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_way_to_write_postgresql_gets_the_psycopg_3_driver(scheme: str) -> None:
    url = parse(f"{scheme}://ann@db.example:6432/studies")

    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.host, url.port, url.database) == ("ann", "db.example", 6432, "studies")


def test_a_unix_socket_is_a_host_too() -> None:
    assert parse("postgresql://ann@/studies?host=/run/postgresql").query["host"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///studies.db", "got sqlite:///studies.db; SQLite locks the whole file for every write"),
        (
            "mysql+pymysql://ann:secret@db/studies",
            "got mysql+pymysql://ann:***@db/studies; castpool supports PostgreSQL only",
        ),
        ("redis://:secret@db:6379/0", "; a journal has no transactions to claim a trial with"),
        ("oracle://ann:secret@db/studies", "; castpool stores its studies in PostgreSQL"),
        ("ann:secret@db", "got a text that is no URL"),
        ("", "got a text that is no URL"),
        ("postgresql://ann:secret@db:port/studies", "got a text that is no URL"),
        ("postgresql://ann:secret@db", "which names no database"),
        ("postgresql://ann:sec@ret@db/studies", "more than one @; write an @ of the password as %40"),
    ],
)
def test_any_other_is_refused_with_the_reason_and_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(StorageURLError) as caught:
        parse(url)

    message = str(caught.value)
    assert message.startswith("storage: got ")
    assert reason in message
    assert "%40" in message or "write postgresql://user@host:5432/database" in message
    assert not any(part in message for part in ("secret", "sec@", "ret@"))
    assert caught.value.exit_code == 2
    shown = None if caught.value.__suppress_context__ else caught.value.__context__
    assert (caught.value.__cause__ or shown) is None, "the error behind it prints the URL"


def test_redacted_hides_a_password_wherever_it_is() -> None:
    url = parse("postgresql://ann:secret1@db/studies?password=secret2&sslpassword=secret3&sslmode=require")

    assert redacted(url) == "postgresql+psycopg://ann:***@db/studies?password=***&sslmode=require&sslpassword=***"


def test_a_percent_encoded_at_sign_in_the_password_is_taken() -> None:
    url = parse("postgresql://ann:p%40ss@db/studies")

    assert (url.password, url.host) == ("p@ss", "db")
