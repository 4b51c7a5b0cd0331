"""`castpool tune`: create the studies, run a pool of workers, show the progress, write the result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castpool.sampler_policies.decision import format_decisions
from castpool.workers.pool.forked_call import call_here, call_in_fork
from castpool.workers.pool.process_pool import warm_up
from castpool.workers.spec.tune_request import TuneRequest, parse_request
from castpool.workers.support.import_path import importing_from
from castpool.workers.support.machine import pool_size, threads_each
from castpool.workers.support.signals import StopRequest

if TYPE_CHECKING:
    import pandas as pd

    from castpool.private_api.neuralforecast import BaseAuto
    from castpool.storage.store import Store
    from castpool.storage.study.studies import StoredStudy
    from castpool.workers.planning.create_study import Draft
    from castpool.workers.results.result import Result


def tune(
    data: str | Path | pd.DataFrame,
    model: str | BaseAuto | Sequence[str | BaseAuto] = "NHITS",
    *,
    horizon: int | None = None,
    progress: str = "auto",
    import_from: str | Path | None = None,
    **settings: Any,
) -> Result:
    """Tune models on a table of series with local workers, and return the fitted winner.

    Args:
        data: columns ``unique_id``, ``ds``, ``y`` and exogenous ones; a frame, or the path of a CSV or Parquet file.
        model: the name of an Auto model, ``auto``, or a configured Auto model, whose loss, config and search_alg are
            used; or several of these, each with a study of its own; they share a ``time_budget``.
        horizon: observations to forecast; by default that of the configured model.
        progress: ``auto``, ``live``, ``lines`` or ``quiet``.
        import_from: folder with the module of a class that is given by its import path, as ``sampler="mine:Sampler"``;
            by default the current directory. It is not stored with the study.
        **settings: every other field of `StudySpec`: ``freq``, ``trials``, ``workers``, ``space``, ``storage``...

    Raises:
        InputError: something given cannot work; one sentence says what to write instead.
        StorageError: the storage cannot be reached, or holds another study of this name.
        StoppedError: SIGINT or SIGTERM; the same call resumes the study.
    """
    values: dict[str, Any] = {**settings, "model": _read_models(model)}
    if horizon is not None:
        values["horizon"] = horizon
    if isinstance(data, str | Path):
        values["data"] = str(data)
    request = parse_request(values)
    with importing_from(import_from, request.spec):
        call = preload_workers(request)
        table: pd.DataFrame | None = None
        if not isinstance(data, str | Path):
            from castpool.workers.data.read_table import read_table

            table = read_table(data, id_column=request.spec.id_col)
        return run(request, table, call, progress=progress)


def _read_models(model: Any) -> list[Any]:
    """Return the models as `parse_request` takes them: names as they are, configured Auto models read."""

    def read(given: Any) -> Any:
        if isinstance(given, str):
            return given
        from castpool.workers.planning.auto_model import read_auto

        return read_auto(given)

    return [read(given) for given in (model if isinstance(model, list | tuple) else [model])]


def preload_workers(request: TuneRequest) -> Callable[..., Any]:
    """Let the fork server load neuralforecast before anything else is done.

    Returns:
        `call_in_fork`, or `call_here` where this process has neuralforecast: how to call what needs it.
    """
    # Threads that wait by spinning take the cores from each other wherever something else runs beside them: the last
    # fit of the demo, for one, takes four times as long. A value that the user has set is kept.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    spec = request.spec
    if request.has_configured_models or "fork-server" in spec.disable:
        return call_here
    warm_up(threads_each(int(pool_size(spec.workers, spec.trials).choice), spec.disable))
    # A process that has neuralforecast, as a notebook may, has the models that the user registered with it.
    return call_here if "neuralforecast" in sys.modules else call_in_fork


def run(
    request: TuneRequest, table: pd.DataFrame | None, call: Callable[..., Any], *, progress: str = "auto"
) -> Result:
    """Do what `tune` promises for a parsed request.

    Args:
        request: the models to tune.
        table: the data, or None to read the file that the spec names.
        call: what `preload_workers` returned.
        progress: as in `tune`.
    """
    # What follows takes a second to import, while the fork server loads neuralforecast, which takes several.
    from castpool.storage.store import open_store
    from castpool.workers.mlflow_tracking.background import BackgroundTracker
    from castpool.workers.mlflow_tracking.client import tracking_uri
    from castpool.workers.monitoring.progress import progress_for
    from castpool.workers.monitoring.prometheus import serve_metrics
    from castpool.workers.planning.build_check import check_job
    from castpool.workers.planning.create_study import draft_study, save_study, with_stored_holdout
    from castpool.workers.planning.model_selection import select_models
    from castpool.workers.pool.supervisor import run_pool
    from castpool.workers.results.finish import finish_by_name
    from castpool.workers.results.result import require_better
    from castpool.workers.support.logs import quiet

    shown = progress_for(progress)
    selection = select_models(request, table)
    spec = request.spec
    uri = tracking_uri(spec.tracking_uri)
    shown.say("reading the data and loading neuralforecast")
    size = pool_size(spec.workers, sum(candidate.spec.trials for candidate in selection.candidates))
    n_workers = int(size.choice)
    if "fork-server" not in spec.disable:
        warm_up(threads_each(n_workers, spec.disable))  # does nothing where `preload_workers` has done it
    quiet()
    shown.say(format_decisions([*selection.decisions, size]))
    drafts = [
        draft_study(
            candidate.spec,
            table,
            objects=candidate.objects,
            base_space=candidate.base_space,
            checked=partial(call, check_job),
        )
        for candidate in selection.candidates
    ]
    with open_store(spec.storage, application_name="castpool tune") as store, StopRequest() as stop:
        drafts = [with_stored_holdout(store, draft) for draft in drafts]
        studies = [save_study(store, draft) for draft in drafts]
        for line in _describe_studies(store, studies, drafts):
            shown.say(line)
        objects = _pack_python_objects(studies, drafts)
        with (
            serve_metrics(store, studies, spec.metrics_host, spec.metrics_port, shown.say),
            BackgroundTracker(store, studies, uri, shown.say),
        ):
            run_pool(store, studies, n_workers, stop, shown, objects=objects)
            names, notes = [stored.name for stored in studies], drafts[0].job.series.notes
            out = Path(spec.out or "castpool-out")
            if len(studies) == 1 and not spec.out:
                out /= names[0]
            arguments = store.url_for_others, names, out, objects, notes
            result: Result = call(finish_by_name, *arguments, stop=stop, say=shown.say)
        require_better(result, spec.require_better_than)
        return result


def _describe_studies(store: Store, studies: Sequence[StoredStudy], drafts: Sequence[Draft]) -> Iterator[str]:
    """Return what is printed before the first trial: notes on storage and data, decisions, warnings."""
    yield from store.notes
    for draft, stored in zip(drafts, studies, strict=True):
        plan = draft.job.plan
        yield f"study {stored.name} in {store.address}"
        yield from draft.job.series.notes
        yield format_decisions(plan.decisions)
        yield from (f"warning: {warning}" for warning in plan.warnings)


def _pack_python_objects(studies: Sequence[StoredStudy], drafts: Sequence[Draft]) -> bytes | None:
    """Return the Python objects of the studies as bytes for the workers; None where there are none."""
    from castpool.workers.spec.python_objects import pack_objects

    objects = {stored.name: draft.job.objects for stored, draft in zip(studies, drafts, strict=True)}
    return pack_objects(objects) if any(given.names for given in objects.values()) else None
