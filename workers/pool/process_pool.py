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

from castpool.errors import CastpoolError
from castpool.workers.support.import_path import safe_import_path
from castpool.workers.support.machine import threads_each
from castpool.workers.support.signals import EXIT_RECYCLED

log = logging.getLogger("castpool.pool")

# Libraries read these when they are loaded, so the fork server must start under them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
RESPAWN_SECONDS = 0.5
LONGEST_RESPAWN_SECONDS = 30.0
MOST_DEATHS_IN_A_ROW = 5
KILL_AFTER_SECONDS = 10.0


class PoolError(CastpoolError, RuntimeError):
    """The workers keep crashing; the message holds the last exit code and its likely cause."""

    exit_code = 1


def likely_cause(exitcode: int) -> str:
    """Return the likely cause of a worker's exit code, and what to do; a negative code is the signal that ended it."""
    if exitcode == -signal.SIGKILL:
        return "likely cause: the system was out of memory, or kill -9; use fewer workers or a smaller batch_size"
    if exitcode in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE, -signal.SIGABRT):
        name = signal.Signals(-exitcode).name
        return f"likely cause: {name} in native code, such as PyTorch or a GPU driver; check their versions"
    if exitcode < 0:
        return f"likely cause: another process sent signal {-exitcode}; run the same command again to resume"
    return "likely cause: an error in Python; read the traceback above"


def warm_up(threads: int) -> None:
    """Start the fork server, which imports neuralforecast in the background.

    Args:
        threads: the number of threads of each worker.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["castpool.workers.pool.preload"])
    with forking(threads):
        resource_tracker.ensure_running()  # the fork server would start it, and with it unblock the signal again
        with _without_ctrl_c():
            forkserver.ensure_running()


@contextmanager
def forking(threads: int) -> Iterator[None]:
    """Start processes in the block that use this many threads, and import neither the main module nor foreign code."""
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))), _no_main_module(), safe_import_path():
        yield


@dataclass
class _Place:
    """One worker of the pool: its process, and its crashes since a trial last ended."""

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
        objects: bytes | None = None,
        gpus: tuple[str, ...] = (),
        disabled: Collection[str] = (),
    ) -> None:
        self.url = url
        self.studies = tuple(studies)
        self.objects = objects
        self.gpus = gpus
        self.threads = threads_each(n_workers, disabled)
        self._is_forking = "fork-server" not in disabled
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
        return [place.process for place in self._places if place.process is not None and place.process.is_alive()]

    def tend(self) -> list[int]:
        """Restart the workers that crashed. Return the process ids of those that crashed since the last call.

        Raises:
            PoolError: a worker keeps crashing, and no trial ends in between.
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
        """Whether every worker has finished."""
        return all(place.is_finished for place in self._places)

    def gpu_of(self, index: int) -> str | None:
        """Return the GPU of a worker; workers are spread evenly over the GPUs."""
        return self.gpus[index % len(self.gpus)] if self.gpus else None

    def settle(self) -> None:
        """Reset the crash counts: a trial has ended since, so this is no crash loop."""
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
            raise PoolError(f"workers keep crashing (exit code {exitcode}, {likely_cause(exitcode)}).")
        pause = min(RESPAWN_SECONDS * 2 ** (place.deaths - 1), LONGEST_RESPAWN_SECONDS)
        place.respawn_at = time.monotonic() + pause
        log.warning("a worker crashed (exit code %d); it is restarted in %.1f s", exitcode, pause)

    def _spawn(self, place: _Place) -> None:
        arguments = (self.url, self.studies, self.threads, self.gpu_of(place.index), self.objects)
        process = self._context.Process(target=_work, args=arguments, name=f"castpool-{place.index}")
        with forking(self.threads):
            process.start()
        place.process = process


def _work(url: str | None, studies: Sequence[str], threads: int, gpu: str | None, objects: bytes | None) -> None:
    from castpool.workers.pool.worker_process import main

    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    sys.exit(main(url, studies, threads=threads, objects=objects, with_parent=True))


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    # A terminal sends Ctrl-C to every process of the command. The pool handles it for all: the fork server and its
    # forks inherit this mask, and the pool stops them by SIGTERM.
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
    # A child process imports its parent's main script to find its target there. A worker's target is elsewhere, and a
    # user's script without an `if __name__ == "__main__"` would otherwise run again in every worker.
    main: Any = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(hidden)
