"""A pool's own business: whom it respawns, when it gives up, what it passes on. Real processes, no training."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from workers import pool as pool_module
from workers.pool import MOST_DEATHS_IN_A_ROW, Pool, PoolError, cores


def leave(*arguments: Any) -> None:
    sys.exit(int(os.environ.get("CASTPOOL_TEST_EXIT", "0")))


def die(*arguments: Any) -> None:
    os.kill(os.getpid(), 9)


def tend_until(pool: Pool, condition: Callable[[], bool], timeout_seconds: float = 60) -> list[int]:
    dead: list[int] = []
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        dead += pool.tend()
        time.sleep(0.02)
    return dead


def test_workers_that_end_their_work_are_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_work", leave)
    with Pool(None, ["study"], 2) as pool:
        assert tend_until(pool, lambda: pool.is_finished) == []
    assert pool.processes == []


def test_a_worker_that_dies_is_replaced_and_a_crash_loop_ends_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_work", die)
    monkeypatch.setattr(pool_module, "RESPAWN_SECONDS", 0.01)
    with Pool(None, ["study"], 1) as pool:
        with pytest.raises(PoolError, match="exit code -9"):
            tend_until(pool, lambda: False)
        assert pool._places[0].deaths == MOST_DEATHS_IN_A_ROW


def test_deaths_are_forgotten_when_work_has_ended_since(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_work", die)
    monkeypatch.setattr(pool_module, "RESPAWN_SECONDS", 0.01)
    with Pool(None, ["study"], 1) as pool:
        dead: list[int] = []
        while len(dead) < MOST_DEATHS_IN_A_ROW + 2:
            dead += tend_until(pool, lambda: pool._places[0].deaths > 0)
            pool.settle()
    assert len(set(dead)) == len(dead)


def test_cores_are_shared() -> None:
    assert Pool(None, ["study"], cores()).threads == 1
    assert Pool(None, ["study"], 1).threads == cores()
    assert Pool(None, ["study"], 10 * cores()).threads == 1


def test_starting_workers_leaves_the_main_module_as_it_was() -> None:
    main = sys.modules["__main__"]
    before = dict(vars(main))
    with pool_module._no_main_module():
        assert getattr(main, "__spec__", None) is None
        assert not hasattr(main, "__file__")
    assert vars(main).get("__file__") == before.get("__file__")
    assert vars(main).get("__spec__") is before.get("__spec__")


def test_workers_may_be_started_one_by_one() -> None:
    with Pool(None, ["study"], 1, without=["fork-server"]) as pool:
        assert pool._context.get_start_method() == "spawn"
        assert len(pool.processes) == 1
