"""Work that one process at a time does, whichever is first: a lock in the database that dies with its holder."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Engine

from storage.engine import transaction
from storage.sql import schema as sql


@contextmanager
def holding(engine: Engine, purpose: str, number: int) -> Iterator[bool]:
    """Hold the lock on a purpose for a study, and say whether it was to be had. Nobody waits.

    The lock is a transaction's, which poolers keep on one server connection; it holds no row.
    """
    with transaction(engine) as connection:
        # Two numbers of 32 bits: a space apart from the one number that guards the creation of tables.
        key = {"purpose": zlib.crc32(purpose.encode()) - 2**31, "number": number}
        yield bool(connection.exec_driver_sql(sql.TRY_LOCK, key).scalar())
