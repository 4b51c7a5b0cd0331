"""The start and end of a worker process, of a pool or of `castpool worker`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy, studies_to_serve
from castpool.workers.monitoring.prometheus import serve_metrics
from castpool.workers.spec.python_objects import PythonObjects, unpack_objects
from castpool.workers.spec.study_spec import spec_of
from castpool.workers.support.logs import get_logger, log_format, quiet, set_up
from castpool.workers.support.signals import EXIT_RECYCLED, EXIT_STOPPED, StopRequest
from castpool.workers.worker.loop import Worker

log = get_logger("worker")

# A pool's worker may start while the server restarts. `castpool worker` reports an unreachable server sooner.
PATIENCE_SECONDS = 60.0
# How long a worker has to release its slot when the pool that started it is gone.
ORPHAN_SECONDS = 10.0


def main(
    url: str | None,
    studies: Sequence[str] = (),
    *,
    threads: int | None = None,
    objects: bytes | None = None,
    with_parent: bool = False,
    metrics: tuple[str, int | None] = ("127.0.0.1", None),
) -> int:
    """Work on studies until they are done or a signal comes; return the exit code.

    Args:
        url: the storage; None is the embedded server.
        studies: their names; without any, all that are unfinished.
        threads: torch's threads; None leaves them as they are.
        objects: the bytes that `pack_objects` made in another process of this user.
        with_parent: stop when the process that started this one is gone.
        metrics: address and port that serve Prometheus metrics; without a port, none.
    """
    with pool_member(threads) if with_parent else _alone(threads) as stop:
        by_study = unpack_objects(objects) if objects is not None else {}
        patience = PATIENCE_SECONDS if with_parent else 5.0
        with open_store(url, application_name=f"castpool worker {os.getpid()}", patience_seconds=patience) as store:
            served = studies_to_serve(store, studies)
            if with_parent and any(map(runs_on_ray, served)):
                os.setsid()  # Ctrl-C in the pool's terminal must not reach Ray's processes: this one stops them
            with serve_metrics(store, served, *metrics, log.info):
                is_replaced = _work(store, served, stop, by_study)
        if stop.is_set:
            return EXIT_STOPPED
        return EXIT_RECYCLED if is_replaced and with_parent else 0


@contextmanager
def pool_member(threads: int | None) -> Iterator[StopRequest]:
    """Set up a process that a pool started: log warnings only, stop on SIGTERM, and end when the pool is gone."""
    # The pool shows the progress itself, so its workers log only warnings; a log collector gets every line.
    set_up("text", logging.INFO if log_format("text") == "json" else logging.WARNING)
    with _alone(threads, is_ours=False) as stop:
        _stop_without_parent(stop)
        yield stop


@contextmanager
def _alone(threads: int | None, *, is_ours: bool = True) -> Iterator[StopRequest]:
    quiet()
    if threads is not None:
        torch.set_num_threads(threads)
    with StopRequest(is_ours=is_ours) as stop:
        yield stop


def _work(
    store: Store, studies: Sequence[StoredStudy], stop: StopRequest, objects: Mapping[str, PythonObjects]
) -> bool:
    is_replaced = False
    by_ray = [study for study in studies if runs_on_ray(study)]
    if others := [study for study in studies if study not in by_ray]:
        is_replaced = Worker(store, others, stop, objects).run()
    for stored in by_ray:
        from castpool.workers.ray_backend.driver import RayDriver

        RayDriver(store, stored, stop, objects.get(stored.name), gpus=torch.cuda.device_count()).run()
        if not stop.is_set:  # Ray has run the trials; their finalists are judged as in every study
            Worker(store, [stored], stop, objects).run()
    return is_replaced


def runs_on_ray(stored: StoredStudy) -> bool:
    """Whether Ray runs the study's trials."""
    return spec_of(stored).backend == "ray"


def _stop_without_parent(stop: StopRequest) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        stop.set()
        time.sleep(ORPHAN_SECONDS)
        os._exit(EXIT_STOPPED)

    threading.Thread(target=watch, name="parent", daemon=True).start()
