"""Connections given back soon after their use while the server has too few for all workers.

A server of a hundred connections serves two hundred workers: they train for minutes and speak for milliseconds. Whether
it has enough goes by how many workers there are, not by what is in use: that changes as soon as anybody gives way.
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

from storage.sql.workers import SHARE

# Of what the server has. The rest is for whoever looks on, and for workers that are just starting.
SHORT_SHARE = 0.8
ASK_AGAIN_SECONDS = 10.0
# Between two trials a worker speaks several times: a connection for all of it costs less than one for each.
IDLE_SECONDS = 0.1

_thrift: WeakKeyDictionary[Dialect, Thrift] = WeakKeyDictionary()


class Thrift:
    """Whether the idle connections of one engine are closed. Asks the server now and then, with a connection in use."""

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
                threading.Thread(target=self._close_idle, name="thrift", daemon=True).start()

    def _share(self, driver: psycopg.Connection[Any]) -> float:
        try:
            row = driver.execute(SHARE).fetchone()
            driver.rollback()
        except psycopg.Error:  # no tables yet, or the connection has just broken: whoever uses it next will see
            return 0.0
        return 0.0 if row is None else float(row[0])

    def _close_idle(self) -> None:
        """Close what has been idle for a moment, and end; the next use starts it again."""
        while True:
            while (left := self._used_at + IDLE_SECONDS - time.monotonic()) > 0:
                time.sleep(left)
            if (engine := self._engine()) is not None:
                engine.pool.dispose()  # what is in use comes back to this same pool, and is closed next time
            with self._lock:
                if engine is None or self._used_at + IDLE_SECONDS <= time.monotonic():
                    self._is_closing = False
                    return
            del engine


def watch(engine: Engine) -> None:
    """Let an engine be thrifty where the server is short of connections."""
    _thrift[engine.dialect] = Thrift(engine)


def is_short(engine: Engine) -> bool:
    """Whether the server has too few connections for all workers, as far as this engine knows."""
    found = _thrift.get(engine.dialect)
    return found is not None and found.is_short
