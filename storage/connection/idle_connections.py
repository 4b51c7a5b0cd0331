"""Close idle connections soon after use while the server has too few connections for all workers.

A server with 100 connections can serve 200 workers, which train for minutes and use the database for milliseconds.
Whether the server is short depends on the number of workers, not on the connections in use, which change at once when
a worker closes its connection.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any
from weakref import WeakKeyDictionary, ref

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine

from castpool.storage.sql.workers import SHARE

# The share of the server's connections for workers. The rest serves monitoring, and workers that are just starting.
SHORT_SHARE = 0.8
ASK_AGAIN_SECONDS = 10.0
# Between two trials a worker sends several statements: one connection for all costs less than one for each.
IDLE_SECONDS = 0.1

_watched: WeakKeyDictionary[Dialect, IdleConnections] = WeakKeyDictionary()


class IdleConnections:
    """Closes the idle connections of one engine while the server is short. Asks the server at most every 10 s."""

    def __init__(self, engine: Engine) -> None:
        self.is_short = False
        self._engine = ref(engine)
        self._asked_at = self._used_at = -math.inf
        self._is_closing = False
        self._lock = threading.Lock()
        event.listen(engine, "checkin", self._used)

    def _used(self, driver: Any, record: Any) -> None:
        if driver is None or driver.closed:
            return
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self.is_short = self._share(driver) > SHORT_SHARE
        with self._lock:
            self._used_at = now
            if self.is_short and not self._is_closing:
                self._is_closing = True
                threading.Thread(target=self._close_idle, name="close-idle-connections", daemon=True).start()

    def _share(self, driver: psycopg.Connection[Any]) -> float:
        try:
            row = driver.execute(SHARE).fetchone()
            driver.rollback()
        except psycopg.Error:  # no tables yet, or a broken connection, which its next use reports
            return 0.0
        return 0.0 if row is None else float(row[0])

    def _close_idle(self) -> None:
        """Close the connections once they have been idle for a moment, and end; the next use starts a new thread."""
        while True:
            while (left := self._used_at + IDLE_SECONDS - time.monotonic()) > 0:
                time.sleep(left)
            if (engine := self._engine()) is not None:
                engine.pool.dispose()  # a connection in use returns to this pool, and is closed next time
            with self._lock:
                if engine is None or self._used_at + IDLE_SECONDS <= time.monotonic():
                    self._is_closing = False
                    return
            del engine


def watch_connections(engine: Engine) -> None:
    """Close the idle connections of this engine while the server is short of connections."""
    _watched[engine.dialect] = IdleConnections(engine)


def is_short_of_connections(engine: Engine) -> bool:
    """Whether the server has too few connections for all workers, as far as this engine knows."""
    found = _watched.get(engine.dialect)
    return found is not None and found.is_short
