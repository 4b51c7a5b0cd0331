"""Running a pool of workers, and showing what becomes of its studies meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence

from storage import reaper, snapshot
from storage.snapshot import Snapshot
from storage.store import Store
from storage.studies import StoredStudy
from workers.gpus import read_gpus
from workers.pool import Pool
from workers.progress import Progress
from workers.signals import StoppedError, StopRequest

WATCH_SECONDS = 0.5


def run_pool(
    store: Store,
    studies: Sequence[StoredStudy],
    n_workers: int,
    stop: StopRequest,
    shown: Progress,
    *,
    extras: bytes | None = None,
) -> None:
    """Run local workers until every slot of the studies has ended, and show what they do.

    Raises:
        StoppedError: a stop was asked for before the end.
        PoolError: the workers die again and again.
    """
    names = [own.name for own in studies]

    def look() -> dict[str, Snapshot]:
        return {own.name: snapshot.take(store.engine, own.study_id) for own in studies}

    views = look()
    if all(view.counts.is_done for view in views.values()):
        return
    ended = _ended(views)
    gpus = tuple(own.index for own in read_gpus())
    if all(own.spec.get("backend") == "ray" for own in studies):
        n_workers, gpus = 1, ()  # Ray starts processes of its own, and gives each a GPU
    without = {lever for own in studies for lever in own.spec.get("without", ())}
    with shown, Pool(store.url_for_others, names, n_workers, extras, gpus, without) as pool:
        while not pool.is_finished and not stop.is_set:
            for pid in pool.tend():
                for own in studies:
                    reaper.reap_worker(store.engine, own.study_id, socket.gethostname(), pid)
            views = look()
            if _ended(views) > ended:
                ended = _ended(views)
                pool.settle()
            shown.show(views)
            stop.wait(WATCH_SECONDS)
        if stop.is_set:
            shown.say("stopping: each worker ends at its next validation check (again to stop at once)")
            pool.stop()
            _wait(pool)
    views = look()
    shown.show(views)
    for name, view in views.items():
        if view.counts.over:
            shown.say(f"study {name}: {view.counts.over}")
    unfinished = [view for view in views.values() if not view.counts.is_done]
    slots = sum(view.counts.slots for view in views.values())
    if (left := sum(view.counts.slots - view.counts.ended for view in unfinished)) > 0:
        raise StoppedError(f"stopped with {left} of {slots} trials to go; the same command goes on.")


def _ended(views: Mapping[str, Snapshot]) -> int:
    return sum(view.counts.ended for view in views.values())


def _wait(pool: Pool) -> None:
    while pool.processes:
        time.sleep(0.1)
