"""`castpool tune`: create the studies, run a pool of workers, watch, write the result."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampler_policies.decision import in_words
from storage import reaper, snapshot
from storage.snapshot import Snapshot
from storage.store import Store, open_store
from storage.studies import StoredStudy
from workers.exporter import exporting
from workers.gpus import read_gpus
from workers.lineup import line_up
from workers.pool import Pool, pool_size, threads_each, warm_up
from workers.progress import Progress, progress_for
from workers.signals import StoppedError, StopRequest
from workers.tracking_client import tracking_uri
from workers.tracking_thread import Tracking

if TYPE_CHECKING:
    import pandas as pd
    from neuralforecast.common._base_auto import BaseAuto

    from workers.result import Result

WATCH_SECONDS = 0.5


def tune(
    data: str | Path | pd.DataFrame,
    model: str | BaseAuto | Sequence[str | BaseAuto] = "NHITS",
    *,
    horizon: int | None = None,
    progress: str = "auto",
    **settings: Any,
) -> Result:
    """Tune models on a table of series with local workers, and return the fitted winner.

    Args:
        data: columns ``unique_id``, ``ds``, ``y`` and exogenous ones; a frame, or the path of a CSV or Parquet file.
        model: the name of an Auto model, ``auto``, or a configured one, whose loss, config and search_alg are
            respected; or several of these, each with the whole budget.
        horizon: observations to forecast; a configured model brings its own.
        progress: ``auto``, ``live``, ``lines`` or ``quiet``.
        **settings: every other field of `StudySpec`: ``freq``, ``trials``, ``workers``, ``space``, ``storage``...

    Raises:
        InputError: something given cannot work; one sentence says what to write instead.
        StorageError: the storage cannot be reached, or holds another study of this name.
        StoppedError: SIGINT or SIGTERM; the same call resumes the study.
    """
    values: dict[str, Any] = {**settings, "model": model}
    if horizon is not None:
        values["horizon"] = horizon
    table: pd.DataFrame | None = None
    if isinstance(data, str | Path):
        values["data"] = str(data)
    else:
        from workers.table import read_table

        table = read_table(data, id_column=values.get("id_col", "unique_id"))
    return run(values, table, progress=progress)


def run(values: Mapping[str, Any], table: pd.DataFrame | None = None, *, progress: str = "auto") -> Result:
    """Do what `tune` promises, for the values of a spec."""
    shown = progress_for(progress)
    lineup = line_up(values, table)
    uri = tracking_uri(lineup.entrants[0].spec.tracking_uri)
    shown.say("reading the data and loading neuralforecast")
    first = lineup.entrants[0].spec
    size = pool_size(first.workers, sum(own.spec.trials for own in lineup.entrants))
    n_workers = int(size.choice)
    # Threads that wait by spinning take the cores from each other wherever something else runs beside: the last fit of
    # the demo, for one, takes four times as long. Whoever knows better sets the variable.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "fork-server" not in first.without:
        # Loads neuralforecast on another core while this process does the same.
        warm_up(threads_each(n_workers, first.without))
    from workers.extras import packed
    from workers.logs import quiet
    from workers.result import write_result
    from workers.study import draft_study, save_study

    quiet()
    shown.say(in_words([*lineup.decisions, size]))
    drafts = [draft_study(own.spec, table, extras=own.extras, base_space=own.base_space) for own in lineup.entrants]
    with open_store(first.storage, application_name="castpool tune") as store, StopRequest() as stop:
        studies = [save_study(store, draft) for draft in drafts]
        for note in store.notes:
            shown.say(note)
        for draft, stored in zip(drafts, studies, strict=True):
            plan = draft.job.plan
            shown.say(f"study {stored.name} in {store.address}")
            for note in draft.job.series.notes:
                shown.say(note)
            shown.say(in_words(plan.decisions))
            for warning in plan.warnings:
                shown.say(f"warning: {warning}")
        extras = {own.name: draft.job.extras for own, draft in zip(studies, drafts, strict=True)}
        has_extras = any(own.names for own in extras.values())
        with (
            exporting(store, studies, first.metrics_host, first.metrics_port, shown.say),
            Tracking(store, studies, uri, shown.say),
        ):
            run_pool(store, studies, n_workers, stop, shown, extras=packed(extras) if has_extras else None)
            views = [snapshot.take(store.engine, own.study_id) for own in studies]
            winner = min(range(len(studies)), key=lambda index: _best_value(views[index]))
            stored, job = studies[winner], drafts[winner].job
            out = Path(first.out or "castpool-out")
            if len(studies) > 1 or not first.out:
                out /= stored.name
            return write_result(store, stored, job, out, stop, shown.say)


def _best_value(view: Snapshot) -> float:
    return math.inf if view.best is None or view.best.value is None else view.best.value


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
    url = None if store.is_embedded else store.url.render_as_string(hide_password=False)
    ended = _ended(views)
    gpus = tuple(own.index for own in read_gpus())
    if all(own.spec.get("backend") == "ray" for own in studies):
        n_workers, gpus = 1, ()  # Ray starts processes of its own, and gives each a GPU
    without = {lever for own in studies for lever in own.spec.get("without", ())}
    with shown, Pool(url, names, n_workers, extras, gpus, without) as pool:
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
