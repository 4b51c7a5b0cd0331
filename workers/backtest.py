"""`castpool backtest`: forecast past windows with a result's competitors, by a pool of workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from castpool.storage.budget import slots
from castpool.workers.evaluation.backtest_windows import BacktestRequest, refuse_below_one
from castpool.workers.pool.forked_call import call_here, call_in_fork
from castpool.workers.pool.process_pool import warm_up
from castpool.workers.support.import_path import importing_from
from castpool.workers.support.machine import local_workers, threads_each
from castpool.workers.support.signals import StoppedError, StopRequest

if TYPE_CHECKING:
    import pandas as pd

    from castpool.workers.evaluation.backtest import Backtest
    from castpool.workers.results.backtest_plan import PlannedBacktest


def backtest(
    study: str | Path | None = None,
    *,
    windows: int | None = None,
    refit_every: int | None = None,
    step_size: int | None = None,
    workers: int = 0,
    storage: str | None = None,
    import_from: str | Path | None = None,
    progress: str = "auto",
) -> pd.DataFrame:
    """Forecast past windows of a finished study with its result, the default configuration and the baselines.

    Local workers do it, and others that serve the study. What was forecast before is not forecast again. The budgets
    of the study are neither asked nor charged.

    Args:
        study: its name, or the folder of a result; by default the only unfinished study, or the latest.
        windows: of one horizon each, at the end of each series, the holdout included; by default as many as leave half
            of the shortest series for training, at most 5.
        refit_every: the number of windows that are forecast from one training; by default 1.
        step_size: observations between two cutoffs; by default the horizon, so that windows do not overlap.
        workers: local worker processes; 0 is one per core, or as many as the GPUs hold.
        storage: where the study is; by default ``$CASTPOOL_STORAGE``, or the embedded server.
        import_from: folder with the module of a class that the study names by its import path.
        progress: ``auto``, ``live``, ``lines`` or ``quiet``.

    Returns:
        ``unique_id``, ``ds``, ``cutoff`` (the last time that the forecast has seen), ``y``, and a column for each
        competitor: ``ensemble``, ``single best``, ``default configuration``, ``seasonal naive``, ...; of those with
        intervals also ``ensemble-lo-80``, ....

    Raises:
        InputError: an unfinished study, or windows that the series have no room for.
        NoResultError: no trial of the study completed, or no model has forecast all windows.
        StorageError: the storage cannot be reached, or has no such study.
        StoppedError: SIGINT or SIGTERM; the same call goes on where it was.
    """
    request = BacktestRequest(windows, refit_every, step_size)
    with importing_from(import_from):
        target = None if study is None else str(study)
        return run(target, request, workers=workers, storage=storage, progress=progress)[1].frame


def run(
    target: str | None,
    request: BacktestRequest,
    *,
    workers: int = 0,
    storage: str | None = None,
    progress: str = "auto",
) -> tuple[PlannedBacktest, Backtest]:
    """Do what `backtest` promises, and return what was planned and what has come of it."""
    refuse_below_one(request)
    # As in `castpool tune`: threads that wait by spinning take the cores from each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    n_workers = local_workers(workers, sys.maxsize)
    call = call_here
    if "neuralforecast" not in sys.modules:
        warm_up(threads_each(n_workers))
        call = call_in_fork

    from castpool.storage.store import open_store
    from castpool.storage.study.studies import open_study
    from castpool.workers.monitoring.progress import progress_for
    from castpool.workers.pool.supervisor import run_pool
    from castpool.workers.results.backtest import end_backtest, plan_backtest, read_backtest
    from castpool.workers.support.logs import quiet

    quiet()
    shown = progress_for(progress)
    with open_store(storage, application_name="castpool backtest") as store, StopRequest() as stop:
        planned: PlannedBacktest = call(plan_backtest, store.url_for_others, target, request)
        shown.say(planned.sentence)
        studies = [open_study(store, name) for name in planned.unfinished]
        open_tasks = sum(slots.count(store.engine, stored.study_id).open_evaluations for stored in studies)
        try:
            if studies:
                run_pool(store, studies, min(n_workers, max(1, open_tasks)), stop, shown)
        except StoppedError:
            end_backtest(store, planned.unfinished)
            raise
        done: Backtest = call(read_backtest, store.url_for_others, planned)
    return planned, done
