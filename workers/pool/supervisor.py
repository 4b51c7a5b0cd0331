"""Run a pool of workers, and show the progress of its studies."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence

from castpool.storage.budget import reaper
from castpool.storage.budget.phase import Phase
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.snapshot import Snapshot
from castpool.storage.study.studies import StoredStudy
from castpool.workers.monitoring.progress import Progress
from castpool.workers.pool.process_pool import Pool
from castpool.workers.spec.study_spec import spec_of
from castpool.workers.support.gpus import read_gpus
from castpool.workers.support.signals import StoppedError, StopRequest

WATCH_SECONDS = 0.5


def run_pool(
    store: Store,
    studies: Sequence[StoredStudy],
    n_workers: int,
    stop: StopRequest,
    shown: Progress,
    *,
    objects: bytes | None = None,
) -> None:
    """Run local workers until every slot of the studies has ended, and show the progress.

    Raises:
        StoppedError: a stop was requested before the end.
        PoolError: the workers keep crashing.
    """
    names = [study.name for study in studies]

    def take_snapshots() -> dict[str, Snapshot]:
        return {study.name: snapshot.take(store.engine, study.study_id) for study in studies}

    views = take_snapshots()
    if all(view.counts.is_done for view in views.values()):
        return
    backtested = [name for name, view in views.items() if view.counts.phase == Phase.BACKTEST]
    ended = _ended(views)
    gpus = tuple(gpu.index for gpu in read_gpus())
    specs = [spec_of(stored) for stored in studies]
    if all(spec.backend == "ray" for spec in specs):
        n_workers, gpus = 1, ()  # Ray starts processes of its own, and gives each a GPU
    disabled = {optimization for spec in specs for optimization in spec.disable}
    with shown, Pool(store.url_for_others, names, n_workers, objects, gpus, disabled) as pool:
        while not pool.is_finished and not stop.is_set:
            for pid in pool.tend():
                for study in studies:
                    reaper.reap_worker(store.engine, study.study_id, socket.gethostname(), pid)
            views = take_snapshots()
            if _ended(views) > ended:
                ended = _ended(views)
                pool.settle()
            shown.show(views)
            stop.wait(WATCH_SECONDS)
        if stop.is_set:
            shown.say("stopping: each worker ends at its next validation check (again to stop at once)")
            pool.stop()
            _wait(pool)
    views = take_snapshots()
    shown.show(views)
    for name, view in views.items():
        if view.counts.over and name not in backtested:  # no budget ends a backtest
            shown.say(f"study {name}: {view.counts.over}")
    unfinished = [view for view in views.values() if not view.counts.is_done]
    slots = sum(view.counts.slots for view in views.values())
    if unfinished:
        left = sum(0 if view.counts.is_searched else view.counts.slots - view.counts.ended for view in unfinished)
        to_judge = any(not view.counts.is_judged for view in unfinished)
        what = "finalists left to judge" if to_judge else "windows left to forecast"
        what = f"{left} of {slots} trials left" if left else what
        raise StoppedError(f"stopped with {what}; run the same command again to resume.")


def _ended(views: Mapping[str, Snapshot]) -> int:
    return sum(view.counts.ended + view.counts.evaluated for view in views.values())


def _wait(pool: Pool) -> None:
    while pool.processes:
        time.sleep(0.1)
