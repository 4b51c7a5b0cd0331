"""How a worker process starts and ends, whether it is forked by a pool or typed as `castpool worker`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from storage.store import Store, open_store
from storage.studies import StoredStudy, studies_to_serve
from workers.exporter import exporting
from workers.extras import Extras, unpacked
from workers.logs import get_logger, log_format, quiet, set_up
from workers.signals import EXIT_RECYCLED, EXIT_STOPPED, StopRequest
from workers.worker import Worker

log = get_logger("worker")

# A worker may come up while the server is just restarting; the person who typed `tune` is told sooner.
PATIENCE_SECONDS = 60.0
# How long a worker has to hand back its slot when the pool that started it is gone.
ORPHAN_SECONDS = 10.0


def main(
    url: str | None,
    studies: Sequence[str] = (),
    *,
    threads: int | None = None,
    extras: bytes | None = None,
    with_parent: bool = False,
    metrics: tuple[str, int | None] = ("127.0.0.1", None),
) -> int:
    """Work on studies until they are done or a signal comes; return the exit code.

    Args:
        url: the storage; None is the embedded server.
        studies: their names; without any, all that are unfinished.
        threads: torch's threads; None leaves them as they are.
        extras: what `extras.packed` made in this user's own process.
        with_parent: stop when the process that started this one is gone.
        metrics: where to serve measures for Prometheus; without a port, nowhere.
    """
    with as_part_of_a_pool(threads) if with_parent else _alone(threads) as stop:
        objects = unpacked(extras) if extras is not None else {}
        patience = PATIENCE_SECONDS if with_parent else 5.0
        with open_store(url, application_name=f"castpool worker {os.getpid()}", patience_seconds=patience) as store:
            served = studies_to_serve(store, studies)
            if with_parent and any(map(is_rays, served)):
                os.setsid()  # Ray's processes are to hear no Ctrl-C in the pool's terminal: this one stops them
            with exporting(store, served, *metrics, log.info):
                is_replaced = _work(store, served, stop, objects)
        if stop.is_set:
            return EXIT_STOPPED
        return EXIT_RECYCLED if is_replaced and with_parent else 0


@contextmanager
def as_part_of_a_pool(threads: int | None) -> Iterator[StopRequest]:
    """Live in a process that another one has started and tells to stop: say little, and end when that one is gone."""
    # Beside a live table, or lines of its own, the pool has no use for what all is well with.
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


def _work(store: Store, studies: Sequence[StoredStudy], stop: StopRequest, extras: Mapping[str, Extras]) -> bool:
    is_replaced = False
    by_ray = [own for own in studies if is_rays(own)]
    if others := [own for own in studies if own not in by_ray]:
        is_replaced = Worker(store, others, stop, extras).run()
    for stored in by_ray:
        from workers.ray_driver import RayDriver

        RayDriver(store, stored, stop, extras.get(stored.name), gpus=torch.cuda.device_count()).run()
    return is_replaced


def is_rays(stored: StoredStudy) -> bool:
    """Whether Ray runs the study's trials."""
    return stored.spec.get("backend") == "ray"


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
