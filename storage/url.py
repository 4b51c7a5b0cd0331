"""Storage URLs: which ones are accepted, and how they are printed without their secrets."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from castpool.storage.errors import StorageURLError

URL_VARIABLE = "CASTPOOL_STORAGE"
WRITE_INSTEAD = "write postgresql://user@host:5432/database, or leave it out for the embedded server."
WHY_NOT = {
    "sqlite": "SQLite locks the whole file for every write, and Optuna itself advises against it for parallel work",
    "mysql": "castpool supports PostgreSQL only, whose locking its claims rely on",
    "redis": "a journal has no transactions to claim a trial with",
}


def parse(url: str) -> URL:
    """Return the URL for SQLAlchemy with the psycopg 3 driver.

    Raises:
        StorageURLError: the URL is malformed, or names something other than PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not printed: a password may be anywhere in it.
        raise StorageURLError(f"storage: got a text that is no URL; {WRITE_INSTEAD}") from None
    backend = parsed.drivername.split("+")[0]
    if "@" in (parsed.host or ""):
        # The rest of a password with an @ in it would be taken for the host, and printed.
        raise StorageURLError("storage: got a URL with more than one @; write an @ of the password as %40.")
    if backend not in ("postgresql", "postgres"):
        reason = WHY_NOT.get(backend, "castpool stores its studies in PostgreSQL")
        raise StorageURLError(f"storage: got {redacted(parsed)}; {reason}: {WRITE_INSTEAD}")
    if not parsed.database:
        raise StorageURLError(f"storage: got {redacted(parsed)}, which names no database; {WRITE_INSTEAD}")
    return parsed.set(drivername="postgresql+psycopg")


def redacted(url: URL) -> str:
    """Return the URL as it may be printed: without the password, wherever it is."""
    query = {key: "***" if "password" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
