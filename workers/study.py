"""Making a study: from a spec and a table to a checked job, and from that to rows in the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from sampler_policies.catalogue import ModelEntry, entry
from sampler_policies.errors import InputError
from sampler_policies.facts import DataFacts
from sampler_policies.plan import make_plan, smallest_input
from storage import datasets
from storage.store import Store
from storage.studies import StoredStudy, create_or_resume, refuse_conflict
from workers.columns import Columns
from workers.exogenous import Exogenous
from workers.extras import Extras
from workers.losses import build_loss
from workers.objective import Job, build_model, configure
from workers.pool import local_workers
from workers.series import Series, prepare
from workers.spec import StudySpec
from workers.table import read_table


@dataclass(frozen=True)
class Draft:
    """A study that has passed every check and is written nowhere yet."""

    job: Job
    payload: bytes
    name: str

    @property
    def dataset(self) -> str:
        """The hash that the data will be kept under."""
        return datasets.sha256_of(self.payload)


def draft_study(
    spec: StudySpec,
    table: pd.DataFrame | None = None,
    *,
    extras: Extras | None = None,
    base_space: Mapping[str, Any] | None = None,
) -> Draft:
    """Check everything that can be checked before anything is written.

    Args:
        spec: what the user asked for.
        table: the data, where it is not the file that the spec names.
        extras: Python objects in place of what the spec would name.
        base_space: a configuration of Ray domains in place of the Auto class's own.

    Raises:
        InputError: the first thing that cannot work, in one sentence.
    """
    extras = extras or Extras()
    if table is None:
        if spec.data is None:
            raise InputError("data", "nothing", "write the path of a CSV or Parquet file.")
        table = read_table(spec.data, id_column=spec.id_col)
    model = entry(spec.model)
    spec = spec.model_copy(update={"model": model.name})
    _refuse_foreign_exogenous(spec, model)
    if extras.loss is None:
        build_loss("loss", spec.loss)
    wishes = spec.wishes(local_workers(spec.workers, spec.trials), base_space)
    n_series = max(1, table[spec.id_col].nunique()) if spec.id_col in table.columns else 1
    series = prepare(
        table,
        columns=Columns(spec.id_col, spec.time_col, spec.target_col),
        horizon=spec.horizon,
        val_size=spec.validation_size,
        freq=spec.freq,
        exogenous=Exogenous(spec.hist_exog, spec.futr_exog, spec.stat_exog),
        futr_table=read_table(spec.futr_data, id_column=spec.id_col) if spec.futr_data else None,
        min_length=spec.horizon + spec.validation_size + smallest_input(model, spec.horizon, n_series, wishes),
        short_series=spec.short_series,
    )
    _refuse_series_that_do_not_go_together(model, series)
    plan = make_plan(model, data_facts(spec, series), wishes, space_is_function=extras.config is not None)
    job = Job.make(spec, plan, series, extras)
    _refuse_impossible_model(job)
    payload = series.to_parquet()
    return Draft(job, payload, spec.name or _name(spec, payload))


def save_study(store: Store, draft: Draft) -> StoredStudy:
    """Write the study, or find it as it was written before.

    Raises:
        StudyConflictError: a study of this name whose trials mean something else.
    """
    spec, plan = draft.job.spec, draft.job.plan
    identity = spec.identity(draft.dataset)
    refuse_conflict(store, draft.name, identity)
    datasets.put(store.engine, draft.payload)
    return create_or_resume(
        store,
        draft.name,
        # Where the study is kept and where its files go is the business of whoever runs it.
        spec=spec.model_dump(mode="json", exclude={"storage", "out"}),
        identity=identity,
        plan={**plan.to_json(), "needs": draft.job.extras.names},
        dataset=draft.dataset,
        trials=spec.trials,
        first_params=plan.default,
    )


def data_facts(spec: StudySpec, series: Series) -> DataFacts:
    """Return what the policies may know of the data."""
    lengths = series.lengths
    return DataFacts(
        n_series=series.n_series,
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        n_rows=int(lengths.sum()),
        horizon=spec.horizon,
        val_size=spec.validation_size,
    )


def _name(spec: StudySpec, payload: bytes) -> str:
    data = Path(spec.data).name.split(".")[0] if spec.data else f"data-{datasets.sha256_of(payload)[:8]}"
    return f"{data}-{spec.model}-h{spec.horizon}"


def _refuse_foreign_exogenous(spec: StudySpec, model: ModelEntry) -> None:
    words = {"hist": "historical", "futr": "future", "stat": "static"}
    for kind, takes in model.exogenous.items():
        columns = getattr(spec, f"{kind}_exog")
        if columns and not takes:
            raise InputError(
                f"{kind}_exog",
                ", ".join(columns),
                f"{model.name} takes no {words[kind]} exogenous columns: leave them out, or write another model.",
            )
    if spec.futr_data and not spec.futr_exog:
        raise InputError("futr_data", spec.futr_data, "write --futr-exog with the columns to take from it.")
    if spec.futr_exog and not spec.futr_data:
        remedy = "write --futr-data with a file that holds their values for the horizon."
        raise InputError("futr_exog", ", ".join(spec.futr_exog), remedy)


def _refuse_series_that_do_not_go_together(model: ModelEntry, series: Series) -> None:
    if not model.needs_n_series:
        return
    if series.n_series == 1 and len(series.frame.columns) == 3:
        remedy = f"{model.name} forecasts several series jointly: write a model for one series, e.g. NHITS."
        raise InputError("model", f"{model.name!r} for one series", remedy)
    spans = series.frame.groupby("unique_id")["ds"].agg(["min", "max"])
    odd = spans.index[(spans != spans.iloc[0]).any(axis=1)]
    if len(odd):
        remedy = f"{model.name} forecasts all series jointly: cut them to one span, or write a univariate model."
        raise InputError("model", f"{model.name!r} for series of different spans (first {odd[0]!r})", remedy)


def _refuse_impossible_model(job: Job) -> None:
    # The defaults stand for all configurations: loss, columns and model are the same in each.
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials.enqueue_trial(dict(job.plan.default))
    config = configure(job, trials.ask())
    try:
        build_model(job, config, []).serialize()  # what cannot be saved is known now, not after the last trial
    except InputError:
        raise
    except Exception as error:
        problem = str(error).strip().splitlines()[0]
        raise InputError("model", job.model.name, f"neuralforecast refuses this combination: {problem}") from error
