"""From a spec and a table to checked series and the decisions on them; without torch, so that it is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sampler_policies.catalogue import ModelEntry
from sampler_policies.errors import InputError
from sampler_policies.facts import DataFacts
from sampler_policies.plan import Plan, make_plan, smallest_input
from sampler_policies.validation import choose_validation
from workers.columns import Columns
from workers.exogenous import Exogenous
from workers.hierarchy import read_hierarchy
from workers.pool import local_workers
from workers.series import Series, prepare
from workers.spec import StudySpec
from workers.table import read_table


@dataclass(frozen=True)
class Planned:
    """What was made of a spec: the data as trials get it, what the policies looked at, and what they decided."""

    spec: StudySpec
    model: ModelEntry
    series: Series
    data: DataFacts
    plan: Plan


def plan_study(
    spec: StudySpec,
    model: ModelEntry,
    table: pd.DataFrame | None = None,
    *,
    base_space: Mapping[str, Any] | None = None,
    space_is_function: bool = False,
) -> Planned:
    """Check the data against the spec and the model, and decide.

    Raises:
        InputError: the first thing that cannot work, in one sentence.
    """
    if table is None:
        if spec.data is None:
            raise InputError("data", "nothing", "write the path of a CSV or Parquet file.")
        table = read_table(spec.data, id_column=spec.id_col)
    spec = spec.model_copy(update={"model": model.name})
    _refuse_foreign_exogenous(spec, model)
    wishes = spec.wishes(local_workers(spec.workers, spec.trials), base_space)
    sizes = table.groupby(spec.id_col, sort=False).size() if spec.id_col in table.columns else pd.Series([len(table)])
    n_series = max(1, len(sizes))
    shortest = int(sizes.min()) if len(sizes) else 0
    validation = choose_validation(spec.horizon, shortest, n_series, spec.val_size, spec.val_step_size)
    spec = spec.model_copy(update=dict(validation.arguments))
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
    if spec.hierarchy is not None:
        series = replace(series, hierarchy=read_hierarchy(spec.hierarchy, list(series.lengths.index)))
    data = data_facts(spec, series)
    plan = make_plan(model, data, wishes, space_is_function=space_is_function)
    plan = replace(plan, decisions=(validation, *plan.decisions))
    return Planned(spec, model, series, data, plan)


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
