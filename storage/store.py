"""The open storage of a process: one engine, Optuna's storage on it, and the server if it is embedded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from castpool.storage import schema
from castpool.storage.attempts import lifecycle
from castpool.storage.connection.engine import FIRST_PATIENCE_SECONDS, connect, retry_during_outage, unreachable_error
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.secrets import secret, with_password
from castpool.storage.server.embedded import EmbeddedServer
from castpool.storage.url import URL_VARIABLE, parse, redacted


@dataclass(frozen=True)
class Store:
    """An open storage. ``trials`` is the storage of Optuna studies."""

    url: URL
    engine: Engine
    trials: PoolStorage
    is_embedded: bool
    notes: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The URL without secrets, for messages and for `optuna.load_study`."""
        return redacted(self.url)

    @property
    def url_for_others(self) -> str | None:
        """The URL with its secrets, for other processes of this user; None is the embedded server."""
        return None if self.is_embedded else self.url.render_as_string(hide_password=False)


@contextmanager
def open_store(
    url: str | None = None,
    *,
    application_name: str = "castpool",
    patience_seconds: float = FIRST_PATIENCE_SECONDS,
) -> Iterator[Store]:
    """Open the storage at ``url``, at ``$CASTPOOL_STORAGE``, or the embedded server, and create its tables.

    ``$CASTPOOL_STORAGE_FILE`` and ``$PGPASSWORD_FILE`` name files that hold them.

    Raises:
        StorageURLError: the URL is not PostgreSQL's.
        StorageUnreachableError: no server answers within ``patience_seconds``.
        SchemaVersionError: the tables are of a castpool or an Optuna that this castpool does not know.
    """
    url = url or secret(URL_VARIABLE)
    if url is not None:
        with _opened(with_password(parse(url)), application_name, patience_seconds, is_embedded=False) as store:
            yield store
        return
    with EmbeddedServer() as server:
        notes = tuple(server.notes)
        with _opened(parse(server.url), application_name, patience_seconds, is_embedded=True, notes=notes) as store:
            yield store


@contextmanager
def _opened(
    url: URL, application_name: str, patience_seconds: float, *, is_embedded: bool, notes: tuple[str, ...] = ()
) -> Iterator[Store]:
    engine = connect(url, application_name, patience_seconds)
    try:
        try:
            retry_during_outage(lambda: schema.ensure(engine, lambda: lifecycle.create_tables(url)), patience_seconds)
        except (OperationalError, InterfaceError) as error:
            raise unreachable_error(url, error) from None
        yield Store(url, engine, PoolStorage(engine), is_embedded, notes)
    finally:
        engine.dispose()
