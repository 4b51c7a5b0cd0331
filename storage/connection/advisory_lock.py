"""A lock in the database for work that only one process may do at a time; it is released when its holder dies."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Engine

from castpool.storage.connection.engine import transaction
from castpool.storage.sql import schema as sql


@contextmanager
def hold_lock(engine: Engine, purpose: str, number: int) -> Iterator[bool]:
    """Try to take the lock on a purpose and a study, without waiting, and hold it for the block.

    The lock belongs to a transaction, which poolers keep on one server connection; it locks no row.

    Yields:
        Whether the lock was taken. False: another process holds it.
    """
    with transaction(engine) as connection:
        # Two numbers of 32 bits: a space apart from the one number that guards the creation of tables.
        key = {"purpose": zlib.crc32(purpose.encode()) - 2**31, "number": number}
        yield bool(connection.exec_driver_sql(sql.TRY_LOCK, key).scalar())
