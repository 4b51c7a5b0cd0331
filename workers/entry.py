"""How a worker process starts and ends, whether it is forked by a pool or typed as `castpool worker`."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

import torch

from storage.store import open_store
from storage.studies import only_study
from workers.extras import Extras
from workers.objective import quiet
from workers.signals import EXIT_STOPPED, StopRequest
from workers.worker import Worker

# A worker may come up while the server is just restarting; the person who typed `tune` is told sooner.
PATIENCE_SECONDS = 60.0
# How long a worker has to hand back its slot when the pool that started it is gone.
ORPHAN_SECONDS = 10.0


def main(
    url: str | None,
    study: str | None,
    *,
    threads: int | None = None,
    extras: bytes | None = None,
    with_parent: bool = False,
) -> int:
    """Work on a study until it is done or a signal comes; return the exit code.

    Args:
        url: the storage; None is the embedded server.
        study: its name; None is the one unfinished study.
        threads: torch's threads; None leaves them as they are.
        extras: `Extras.to_bytes` from this user's own process.
        with_parent: stop when the process that started this one is gone.
    """
    quiet()
    if threads is not None:
        torch.set_num_threads(threads)
    with StopRequest(is_ours=not with_parent) as stop:
        if with_parent:
            _stop_without_parent(stop)
        objects = Extras.from_bytes(extras) if extras is not None else None
        patience = PATIENCE_SECONDS if with_parent else 5.0
        with open_store(url, application_name=f"castpool worker {os.getpid()}", patience_seconds=patience) as store:
            Worker(store, only_study(store, study), stop, objects).run()
        return EXIT_STOPPED if stop.is_set else 0


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
