"""Connections given back after each use while the server has too few for all workers.

A server of a hundred connections serves two hundred workers: they train for minutes and speak for milliseconds. Whether
it has enough goes by how many workers there are, not by what is in use: that changes as soon as anybody gives way.
"""

from __future__ import annotations

import math
import time
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from storage.sql.workers import SHARE

# Of what the server has. The rest is for whoever looks on, and for workers that are just starting.
SHORT_SHARE = 0.8
ASK_AGAIN_SECONDS = 10.0

_thrift: WeakKeyDictionary[Pool, Thrift] = WeakKeyDictionary()


class Thrift:
    """Whether the connections of one engine are given back. Asks the server now and then, with a connection in use."""

    def __init__(self, engine: Engine) -> None:
        self.is_short = False
        self._asked_at = -math.inf
        event.listen(engine, "checkin", self._used)

    def _used(self, driver: Any, record: Any) -> None:
        if driver is None or driver.closed:
            return
        if time.monotonic() - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = time.monotonic()
            self.is_short = self._share(driver) > SHORT_SHARE
        if self.is_short:
            record.invalidate(soft=False)

    def _share(self, driver: psycopg.Connection[Any]) -> float:
        try:
            row = driver.execute(SHARE).fetchone()
            driver.rollback()
        except psycopg.Error:  # no tables yet, or the connection has just broken: whoever uses it next will see
            return 0.0
        return 0.0 if row is None else float(row[0])


def watch(engine: Engine) -> None:
    """Let an engine be thrifty where the server is short of connections."""
    _thrift[engine.pool] = Thrift(engine)


def is_short(engine: Engine) -> bool:
    """Whether the server has too few connections for all workers, as far as this engine knows."""
    found = _thrift.get(engine.pool)
    return found is not None and found.is_short
