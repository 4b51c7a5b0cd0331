"""`castpool tune`: create the studies, run a pool of workers, watch, write the result."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampler_policies.decision import in_words
from workers.errand import in_this_process, run_errand
from workers.pool import pool_size, threads_each, warm_up
from workers.signals import StopRequest
from workers.spec import make_spec

if TYPE_CHECKING:
    import pandas as pd
    from neuralforecast.common._base_auto import BaseAuto

    from storage.snapshot import Snapshot
    from workers.result import Result


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
    call = load_early(values)
    # What follows takes a second to import, while the fork server loads neuralforecast, which takes several.
    from storage import snapshot
    from storage.store import open_store
    from workers.checks import check_job
    from workers.exporter import exporting
    from workers.extras import packed
    from workers.finishing import finish_by_name
    from workers.lineup import line_up
    from workers.logs import quiet
    from workers.progress import progress_for
    from workers.study import draft_study, save_study
    from workers.tracking_client import tracking_uri
    from workers.tracking_thread import Tracking
    from workers.watching import run_pool

    shown = progress_for(progress)
    lineup = line_up(values, table)
    first = lineup.entrants[0].spec
    uri = tracking_uri(first.tracking_uri)
    shown.say("reading the data and loading neuralforecast")
    size = pool_size(first.workers, sum(own.spec.trials for own in lineup.entrants))
    n_workers = int(size.choice)
    if "fork-server" not in first.without:
        warm_up(threads_each(n_workers, first.without))  # where it could not be done early
    quiet()
    shown.say(in_words([*lineup.decisions, size]))
    drafts = [
        draft_study(own.spec, table, extras=own.extras, base_space=own.base_space, checked=partial(call, check_job))
        for own in lineup.entrants
    ]
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
        given = {own.name: draft.job.extras for own, draft in zip(studies, drafts, strict=True)}
        extras = packed(given) if any(own.names for own in given.values()) else None
        with (
            exporting(store, studies, first.metrics_host, first.metrics_port, shown.say),
            Tracking(store, studies, uri, shown.say),
        ):
            run_pool(store, studies, n_workers, stop, shown, extras=extras)
            views = [snapshot.take(store.engine, own.study_id) for own in studies]
            winner = min(range(len(studies)), key=lambda index: _best_value(views[index]))
            name, notes = studies[winner].name, drafts[winner].job.series.notes
            out = Path(first.out or "castpool-out")
            if len(studies) > 1 or not first.out:
                out /= name
            asked = store.url_for_others, name, out, extras, notes
            made: Result = call(finish_by_name, *asked, stop=stop, say=shown.say)
            return made


def load_early(values: Mapping[str, Any]) -> Callable[..., Any]:
    """Let the fork server load neuralforecast before anything else is done; return how to call what needs it.

    Raises:
        InputError: a value of the spec cannot work.
    """
    # Threads that wait by spinning take the cores from each other wherever something else runs beside: the last fit of
    # the demo, for one, takes four times as long. Whoever knows better sets the variable.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    models = values.get("model", ())
    is_configured = any(not isinstance(own, str) for own in (models if isinstance(models, list | tuple) else [models]))
    if is_configured:
        return in_this_process  # its values belong to the spec, and whoever made it has loaded neuralforecast
    spec = make_spec({key: value for key, value in values.items() if key != "model"})
    if "fork-server" in spec.without:
        return in_this_process
    warm_up(threads_each(int(pool_size(spec.workers, spec.trials).choice), spec.without))
    # A process that has neuralforecast, as a notebook may, knows what a user has registered with it.
    return in_this_process if "neuralforecast" in sys.modules else run_errand


def _best_value(view: Snapshot) -> float:
    return math.inf if view.best is None or view.best.value is None else view.best.value
