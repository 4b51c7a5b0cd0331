"""`castpool tune`: create the study, run a pool of workers, watch, write the result."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampler_policies.decision import in_words
from storage import reaper, snapshot
from storage.store import Store, open_store
from storage.studies import StoredStudy
from workers.pool import Pool, local_workers, warm_up
from workers.progress import Progress, progress_for
from workers.signals import StoppedError, StopRequest
from workers.spec import StudySpec, make_spec

if TYPE_CHECKING:
    import pandas as pd
    from neuralforecast.common._base_auto import BaseAuto

    from workers.extras import Extras
    from workers.result import Result

WATCH_SECONDS = 0.5


def tune(
    data: str | Path | pd.DataFrame,
    model: str | BaseAuto = "NHITS",
    *,
    horizon: int | None = None,
    progress: str = "auto",
    **settings: Any,
) -> Result:
    """Tune a model on a table of series with local workers, and return the fitted winner.

    Args:
        data: columns ``unique_id``, ``ds``, ``y`` and exogenous ones; a frame, or the path of a CSV or Parquet file.
        model: the name of an Auto model, or a configured one, whose loss, config and search_alg are respected.
        horizon: observations to forecast; a configured model brings its own.
        progress: ``auto``, ``live``, ``lines`` or ``quiet``.
        **settings: every other field of `StudySpec`: ``freq``, ``trials``, ``workers``, ``space``, ``storage``...

    Raises:
        InputError: something given cannot work; one sentence says what to write instead.
        StorageError: the storage cannot be reached, or holds another study of this name.
        StoppedError: SIGINT or SIGTERM; the same call resumes the study.
    """
    values: dict[str, Any] = dict(settings)
    extras: Extras | None = None
    base_space: Mapping[str, Any] | None = None
    if isinstance(model, str):
        values["model"] = model
    else:
        from workers.auto_instance import read_auto

        read = read_auto(model)
        values, extras, base_space = {**read.values, **values}, read.extras, read.base_space
    if horizon is not None:
        values["horizon"] = horizon
    table: pd.DataFrame | None = None
    if isinstance(data, str | Path):
        values["data"] = str(data)
    else:
        from workers.table import read_table

        table = read_table(data, id_column=values.get("id_col", "unique_id"))
    return run(make_spec(values), table, extras=extras, base_space=base_space, progress=progress)


def run(
    spec: StudySpec,
    table: pd.DataFrame | None = None,
    *,
    extras: Extras | None = None,
    base_space: Mapping[str, Any] | None = None,
    progress: str = "auto",
) -> Result:
    """Do what `tune` promises, for a checked spec."""
    shown = progress_for(progress)
    shown.say("reading the data and loading neuralforecast")
    n_workers = local_workers(spec.workers, spec.trials)
    warm_up(n_workers)  # imports neuralforecast on another core while this process does the same
    from workers.objective import quiet
    from workers.result import write_result
    from workers.study import draft_study, save_study

    quiet()
    draft = draft_study(spec, table, extras=extras, base_space=base_space)
    with open_store(spec.storage, application_name="castpool tune") as store, StopRequest() as stop:
        stored = save_study(store, draft)
        for note in (*store.notes, *draft.job.series.notes):
            shown.say(note)
        shown.say(f"study {stored.name} in {store.address}")
        shown.say(in_words(draft.job.plan.decisions))
        for warning in draft.job.plan.warnings:
            shown.say(f"warning: {warning}")
        extras_bytes = extras.to_bytes() if extras is not None and extras.names else None
        run_pool(store, stored, n_workers, stop, shown, extras=extras_bytes)
        out = Path(spec.out) if spec.out else Path("castpool-out") / stored.name
        return write_result(store, stored, draft.job, out, stop, shown.say)


def run_pool(
    store: Store,
    stored: StoredStudy,
    n_workers: int,
    stop: StopRequest,
    shown: Progress,
    *,
    extras: bytes | None = None,
) -> None:
    """Run local workers until every slot has ended, and show what they do.

    Raises:
        StoppedError: a stop was asked for before the end.
        PoolError: the workers die again and again.
    """
    view = snapshot.take(store.engine, stored.study_id)
    if view.counts.is_done:
        return
    url = None if store.is_embedded else store.url.render_as_string(hide_password=False)
    ended = view.counts.ended
    with shown, Pool(url, stored.name, n_workers, extras, visible_gpus()) as pool:
        while not pool.is_finished and not stop.is_set:
            for pid in pool.tend():
                reaper.reap_worker(store.engine, stored.study_id, socket.gethostname(), pid)
            view = snapshot.take(store.engine, stored.study_id)
            if view.counts.ended > ended:
                ended = view.counts.ended
                pool.settle()
            shown.show(view)
            stop.wait(WATCH_SECONDS)
        if stop.is_set:
            shown.say("stopping: each worker ends at its next validation check (again to stop at once)")
            pool.stop()
            _wait(pool)
    view = snapshot.take(store.engine, stored.study_id)
    shown.show(view)
    if not view.counts.is_done:
        left = view.counts.slots - view.counts.ended
        raise StoppedError(f"stopped with {left} of {view.counts.slots} trials to go; the same command goes on.")


def visible_gpus() -> tuple[str, ...]:
    """Return what CUDA_VISIBLE_DEVICES may name for the workers; empty without a GPU."""
    if shutil.which("nvidia-smi") is None:
        return ()  # spares a pool without a GPU the memory of torch in its own process
    import torch

    if not torch.cuda.is_available():
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(str(index) for index in range(torch.cuda.device_count()))


def _wait(pool: Pool) -> None:
    while pool.processes:
        time.sleep(0.1)
