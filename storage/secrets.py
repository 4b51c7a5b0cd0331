"""Secrets from files, as Docker and Kubernetes mount them: ``NAME_FILE`` names a file with the value of ``NAME``."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import URL

from castpool.storage.errors import StorageURLError

PASSWORD = "PGPASSWORD"


def secret(name: str) -> str | None:
    """Return the value of an environment variable, or of the file that ``NAME_FILE`` names; None without either.

    Raises:
        StorageURLError: the file cannot be read. Its content is never part of the message.
    """
    if value := os.environ.get(name):
        return value
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StorageURLError(
            f"{name}_FILE: got {path!r}, which cannot be read ({why}); name a readable file."
        ) from None


def with_password(url: URL) -> URL:
    """Return the URL with the password from ``PGPASSWORD_FILE``, where it has none and ``PGPASSWORD`` is not set.

    Raises:
        StorageURLError: the file cannot be read.
    """
    if url.password is not None or os.environ.get(PASSWORD):
        return url  # psycopg reads the variable itself
    password = secret(PASSWORD)
    return url if password is None else url.set(password=password)
