"""How long a thread has waited for the storage: what a worker's profile takes out of everything else."""

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
def waiting() -> Iterator[None]:
    """Count the time within as waiting for the storage; what is within another such block counts once."""
    started = time.monotonic()
    _waited.depth += 1
    try:
        yield
    finally:
        _waited.depth -= 1
        if _waited.depth == 0:
            _waited.seconds += time.monotonic() - started
