"""Secrets from files: which one counts, and that none is ever in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from castpool.storage.errors import StorageURLError
from castpool.storage.secrets import secret, with_password
from castpool.storage.url import parse, redacted

CANARY = "kanarienvogel-7f3a"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PGPASSWORD", "PGPASSWORD_FILE", "CASTPOOL_STORAGE", "CASTPOOL_STORAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "password"
    path.write_text(f"{CANARY}\n")
    return path


def test_a_file_holds_what_the_variable_would(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret("PGPASSWORD") is None
    monkeypatch.setenv("PGPASSWORD_FILE", str(kept))
    assert secret("PGPASSWORD") == CANARY
    monkeypatch.setenv("PGPASSWORD", "the variable wins")
    assert secret("PGPASSWORD") == "the variable wins"


def test_an_empty_file_is_none(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write_text("\n")
    monkeypatch.setenv("PGPASSWORD_FILE", str(kept))
    assert secret("PGPASSWORD") is None


def test_a_password_is_put_where_none_is_and_never_shown(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare, full = parse("postgresql://user@host/db"), parse("postgresql://user:mine@host/db")
    assert with_password(bare) == bare
    monkeypatch.setenv("PGPASSWORD_FILE", str(kept))
    assert with_password(bare).password == CANARY
    assert with_password(full) == full
    assert CANARY not in redacted(with_password(bare))
    assert CANARY not in repr(with_password(bare))
    monkeypatch.setenv("PGPASSWORD", "psycopg's business")
    assert with_password(bare) == bare


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff\xfe", "it is not text")])
def test_a_file_that_cannot_be_read_is_one_sentence(
    kept: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, why: str
) -> None:
    kept.unlink()
    if content is not None:
        kept.write_bytes(content)
    monkeypatch.setenv("PGPASSWORD_FILE", str(kept))
    with pytest.raises(StorageURLError, match=f"PGPASSWORD_FILE: got .*{why}.*; name a readable file") as caught:
        secret("PGPASSWORD")
    assert caught.value.exit_code == 2
