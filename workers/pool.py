"""N worker processes on this machine: forked from one that has imported neuralforecast, respawned, stopped.

A fork server imports torch, ray and neuralforecast once; each worker is a fork of it and shares that memory.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import Any

from sampler_policies.decision import Decision
from sampler_policies.pool_size import PoolFacts, choose_workers
from workers.gpus import read_gpus
from workers.signals import EXIT_RECYCLED

log = logging.getLogger("castpool.pool")

# Libraries read these when they are loaded, so the fork server must start under them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
RESPAWN_SECONDS = 0.5
LONGEST_RESPAWN_SECONDS = 30.0
MOST_DEATHS_IN_A_ROW = 5
KILL_AFTER_SECONDS = 10.0


class PoolError(RuntimeError):
    """The workers die faster than they work; the message holds the last exit code."""

    exit_code = 1


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool_size(asked: int, trials: int) -> Decision:
    """Decide how many workers to run here: as many as asked for, where that is not 0, and no more than trials."""
    return choose_workers(PoolFacts(asked, trials, cores(), () if asked else read_gpus()))


def local_workers(asked: int, trials: int) -> int:
    """Return the number that `pool_size` decides on."""
    return int(pool_size(asked, trials).choice)


def threads_each(n_workers: int, without: Collection[str] = ()) -> int:
    """Return how many threads each worker computes with: its share of the cores, unless that is left out."""
    return cores() if "shared-cores" in without else max(1, cores() // n_workers)


def warm_up(threads: int) -> None:
    """Start the fork server, which imports neuralforecast in the background while the caller goes on.

    Args:
        threads: that each worker computes with.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workers.preload"])
    resource_tracker.ensure_running()  # the fork server would start it, and with it unblock the signal again
    with forking(threads), _without_ctrl_c():
        forkserver.ensure_running()


@contextmanager
def forking(threads: int) -> Iterator[None]:
    """Start processes in the block that compute with so many threads, and import nothing of the main module."""
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))), _no_main_module():
        yield


@dataclass
class _Place:
    """Where one worker of the pool stands: its process, and how often it has died without working."""

    index: int
    process: ForkServerProcess | SpawnProcess | None = None
    deaths: int = 0
    respawn_at: float = 0.0
    is_finished: bool = False


class Pool:
    """N workers that serve the same studies. Use as a context manager; call `tend` often."""

    def __init__(
        self,
        url: str | None,
        studies: Sequence[str],
        n_workers: int,
        extras: bytes | None = None,
        gpus: tuple[str, ...] = (),
        without: Collection[str] = (),
    ) -> None:
        self.url = url
        self.studies = tuple(studies)
        self.extras = extras
        self.gpus = gpus
        self.threads = threads_each(n_workers, without)
        self._is_forking = "fork-server" not in without
        self._context: ForkServerContext | SpawnContext = (
            multiprocessing.get_context("forkserver") if self._is_forking else multiprocessing.get_context("spawn")
        )
        self._places = [_Place(index) for index in range(n_workers)]
        self._is_stopping = False

    def __enter__(self) -> Pool:
        if self._is_forking:
            warm_up(self.threads)
        for place in self._places:
            self._spawn(place)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        deadline = time.monotonic() + KILL_AFTER_SECONDS
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        for process in self.processes:
            process.kill()
            process.join()

    @property
    def processes(self) -> list[ForkServerProcess | SpawnProcess]:
        """The workers that are running."""
        return [own.process for own in self._places if own.process is not None and own.process.is_alive()]

    def tend(self) -> list[int]:
        """Look after the workers: respawn the dead. Return the process ids of those that died since the last call.

        Raises:
            PoolError: a worker dies again and again without ending its work.
        """
        dead: list[int] = []
        for place in self._places:
            process = place.process
            if process is not None and process.exitcode is not None:
                place.process = None
                place.is_finished = process.exitcode == 0 or self._is_stopping
                if process.exitcode not in (0, EXIT_RECYCLED):
                    dead.append(process.pid or 0)
                    self._count_death(place, process.exitcode)
            if place.process is None and not place.is_finished and time.monotonic() >= place.respawn_at:
                self._spawn(place)
        return dead

    @property
    def is_finished(self) -> bool:
        """Whether every worker has ended its work."""
        return all(own.is_finished for own in self._places)

    def gpu_of(self, index: int) -> str | None:
        """Return which GPU a worker of the pool uses: they take turns."""
        return self.gpus[index % len(self.gpus)] if self.gpus else None

    def settle(self) -> None:
        """Forget earlier deaths: work has ended since, so this is no crash loop."""
        for place in self._places:
            place.deaths = 0

    def stop(self) -> None:
        """Ask every worker to stop at its next validation check."""
        self._is_stopping = True
        for place in self._places:
            place.is_finished = place.is_finished or place.process is None
        for process in self.processes:
            process.terminate()

    def _count_death(self, place: _Place, exitcode: int) -> None:
        place.deaths += 1
        if self._is_stopping:
            return
        if place.deaths >= MOST_DEATHS_IN_A_ROW:
            raise PoolError(f"workers die again and again (exit code {exitcode}); their messages above say why.")
        pause = min(RESPAWN_SECONDS * 2 ** (place.deaths - 1), LONGEST_RESPAWN_SECONDS)
        place.respawn_at = time.monotonic() + pause
        log.warning("a worker died (exit code %d); another takes its place in %.1f s", exitcode, pause)

    def _spawn(self, place: _Place) -> None:
        arguments = (self.url, self.studies, self.threads, self.gpu_of(place.index), self.extras)
        process = self._context.Process(target=_work, args=arguments, name=f"castpool-{place.index}")
        with forking(self.threads):
            process.start()
        place.process = process


def _work(url: str | None, studies: Sequence[str], threads: int, gpu: str | None, extras: bytes | None) -> None:
    from workers.entry import main

    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    sys.exit(main(url, studies, threads=threads, extras=extras, with_parent=True))


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    # A terminal sends Ctrl-C to every process of the command. The pool answers it for all: what starts under this
    # mask, the fork server and its forks, inherits it and is asked to stop by SIGTERM.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_main_module() -> Iterator[None]:
    # A child imports its parent's main script to find its target there. Ours needs none of it, and a user's
    # script or notebook without an `if __name__ == "__main__"` would otherwise run anew in every worker.
    main: Any = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(hidden)
