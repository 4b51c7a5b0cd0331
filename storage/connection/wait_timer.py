"""How long a thread has waited for the storage, which a worker's time profile shows separately."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Waited(threading.local):
    seconds = 0.0
    depth = 0


_waited = _Waited()


def storage_seconds() -> float:
    """Return the seconds that this thread has waited for the storage since it began."""
    return _waited.seconds


@contextmanager
def time_storage_wait() -> Iterator[None]:
    """Count the block's time as waiting for the storage; nested blocks count once."""
    started = time.monotonic()
    _waited.depth += 1
    try:
        yield
    finally:
        _waited.depth -= 1
        if _waited.depth == 0:
            _waited.seconds += time.monotonic() - started
