"""The pool: which workers it restarts, when it gives up, what it passes on. Real processes, no training."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, SpawnProcess
from typing import Any

import pytest

from castpool.workers.pool import process_pool as pool_module
from castpool.workers.pool.process_pool import MOST_DEATHS_IN_A_ROW, Pool, PoolError, forking, likely_cause
from castpool.workers.support.machine import cores


def leave(*arguments: Any) -> None:
    sys.exit(int(os.environ.get("CASTPOOL_TEST_EXIT", "0")))


def die(*arguments: Any) -> None:
    os.kill(os.getpid(), 9)


@pytest.fixture
def worker_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Let each worker process run a function in place of a worker."""

    def replace(function: Callable[..., Any]) -> None:
        start = ForkServerContext.Process

        def start_other(*, target: object, args: tuple[Any, ...], name: str) -> Any:
            return start(target=function, args=args, name=name)

        monkeypatch.setattr(ForkServerContext, "Process", staticmethod(start_other))

    return replace


def tend_until(pool: Pool, condition: Callable[[], bool], timeout_seconds: float = 60) -> list[int]:
    dead: list[int] = []
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        dead += pool.tend()
        time.sleep(0.02)
    return dead


def test_workers_that_end_their_work_are_not_replaced(worker_runs: Callable[..., None]) -> None:
    worker_runs(leave)
    with Pool(None, ["study"], 2) as pool:
        assert tend_until(pool, lambda: pool.is_finished) == []
    assert pool.processes == []


def test_a_worker_that_dies_is_replaced_and_a_crash_loop_ends_the_pool(
    monkeypatch: pytest.MonkeyPatch, worker_runs: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    worker_runs(die)
    monkeypatch.setattr(pool_module, "RESPAWN_SECONDS", 0.01)
    keep_crashing = r"keep crashing \(exit code -9, likely cause: .*out of memory"
    with Pool(None, ["study"], 1) as pool, pytest.raises(PoolError, match=keep_crashing):
        tend_until(pool, lambda: False)
    restarts = [line for line in caplog.messages if "it is restarted" in line]
    assert len(restarts) == MOST_DEATHS_IN_A_ROW - 1


def test_deaths_are_forgotten_when_work_has_ended_since(
    monkeypatch: pytest.MonkeyPatch, worker_runs: Callable[..., None]
) -> None:
    worker_runs(die)
    monkeypatch.setattr(pool_module, "RESPAWN_SECONDS", 0.01)
    with Pool(None, ["study"], 1) as pool:
        dead: list[int] = []
        while len(dead) < MOST_DEATHS_IN_A_ROW + 2:
            died = pool.tend()
            dead += died
            if died:
                pool.settle()
            time.sleep(0.02)
    assert len(set(dead)) == len(dead)


def test_cores_are_shared() -> None:
    assert Pool(None, ["study"], cores()).threads == 1
    assert Pool(None, ["study"], 1).threads == cores()
    assert Pool(None, ["study"], 10 * cores()).threads == 1


def test_starting_workers_leaves_the_main_module_as_it_was() -> None:
    main = sys.modules["__main__"]
    before = dict(vars(main))
    with forking(1):
        assert getattr(main, "__spec__", None) is None
        assert not hasattr(main, "__file__")
    assert vars(main).get("__file__") == before.get("__file__")
    assert vars(main).get("__spec__") is before.get("__spec__")


def test_workers_may_be_started_one_by_one() -> None:
    with Pool(None, ["study"], 1, disabled=["fork-server"]) as pool:
        assert [type(process) for process in pool.processes] == [SpawnProcess]


@pytest.mark.parametrize(("code", "cause"), [(-9, "out of memory"), (-11, "SIGSEGV in native code"), (1, "traceback")])
def test_a_crash_has_a_likely_cause(code: int, cause: str) -> None:
    assert cause in likely_cause(code)
