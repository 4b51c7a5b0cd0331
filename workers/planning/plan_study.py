"""A study is planned: from a spec and a table to checked series and decisions. It does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.plan import Plan, largest_input, make_plan, smallest_input
from castpool.sampler_policies.rules.choose_baselines import BaselineFacts, choose_baselines, choose_season
from castpool.sampler_policies.rules.choose_holdout import choose_holdout
from castpool.sampler_policies.rules.choose_intervals import choose_intervals
from castpool.sampler_policies.rules.choose_validation import choose_validation, n_windows
from castpool.sampler_policies.rules.choose_verification import SHARE, choose_ensemble, choose_verification
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.workers.data.columns import Columns
from castpool.workers.data.exogenous import Exogenous
from castpool.workers.data.hierarchy import read_hierarchy
from castpool.workers.data.read_table import read_table
from castpool.workers.data.series_dataset import Series, prepare
from castpool.workers.evaluation.baselines import find_baseline, is_installed
from castpool.workers.spec.study_spec import StudySpec
from castpool.workers.support.machine import local_workers


@dataclass(frozen=True)
class PlannedStudy:
    """A spec with its checked data, the facts that the policies read, and the decisions that they made."""

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
) -> PlannedStudy:
    """Check the data against the spec and the model, and decide.

    Args:
        spec: the study to plan.
        model: its model's entry in the catalogue.
        table: the data; by default the file that the spec names is read.
        base_space: a configuration of Ray domains that replaces the Auto class's default space.
        space_is_function: whether the configuration is a Python function of the trial.

    Raises:
        InputError: the first value that cannot work, in one sentence.
    """
    if table is None:
        if spec.data is None:
            raise InputError("data", "nothing", "write the path of a CSV or Parquet file.")
        table = read_table(spec.data, id_column=spec.id_col)
    spec = spec.model_copy(update={"model": model.name})
    _refuse_foreign_exogenous(spec, model)
    request = spec.request(local_workers(spec.workers, spec.trials), base_space)
    sizes = table.groupby(spec.id_col, sort=False).size() if spec.id_col in table.columns else pd.Series([len(table)])
    n_series = max(1, len(sizes))
    shortest = int(sizes.min()) if len(sizes) else 0
    holdout = choose_holdout(spec.horizon, shortest, n_series, spec.holdout)
    spec = spec.model_copy(update=dict(holdout.arguments))
    searched = shortest - (spec.holdout or 0)
    validation = choose_validation(spec.horizon, searched, n_series, spec.val_size, spec.val_step_size)
    spec = spec.model_copy(update=dict(validation.arguments))
    smallest = smallest_input(model, spec.horizon, n_series, request)
    series = prepare(
        table,
        columns=Columns(spec.id_col, spec.time_col, spec.target_col),
        horizon=spec.horizon,
        val_size=spec.validation_size,
        freq=spec.freq,
        exogenous=Exogenous(spec.hist_exog, spec.futr_exog, spec.stat_exog),
        futr_table=read_table(spec.futr_data, id_column=spec.id_col) if spec.futr_data else None,
        holdout=spec.holdout or 0,
        min_length=spec.horizon + spec.validation_size + (spec.holdout or 0) + smallest,
        short_series=spec.short_series,
    )
    _refuse_unequal_spans(model, series)
    if spec.hierarchy is not None:
        series = replace(series, hierarchy=read_hierarchy(spec.hierarchy, list(series.lengths.index)))
    data = data_facts(spec, series)
    plan = make_plan(model, data, request, space_is_function=space_is_function)
    kept_shortest = int(series.lengths.min())
    verification = choose_verification(
        kept_shortest, spec.holdout or 0, spec.validation_size, spec.finalists, spec.horizon + smallest
    )
    evaluation: tuple[Decision, ...] = (
        verification,
        choose_ensemble(spec.ensemble),
        *_choose_baselines(spec, series, verification),
    )
    if spec.level:
        searched = kept_shortest - (spec.holdout or 0)
        # Whatever configuration wins must fit into the training: its input, and one observation to forecast.
        longest = largest_input(plan, model, spec.horizon) or smallest
        evaluation = (*evaluation, choose_intervals(spec.level, spec.horizon, searched, longest + 1))
    plan = replace(plan, decisions=(holdout, validation, *plan.decisions, *evaluation))
    _refuse_requirement_without_holdout(spec, evaluation)
    return PlannedStudy(spec, model, series, data, plan)


def _choose_baselines(spec: StudySpec, series: Series, verification: Decision) -> tuple[Decision, Decision]:
    """Return the decisions on the season and on the baselines; those that the user names are looked for.

    Raises:
        InputError: a baseline that is unknown, or whose package is missing.
    """
    shortest = int(series.lengths.min()) - (spec.holdout or 0)
    season = choose_season(series.freq, spec.horizon, shortest, spec.season)
    length = int(season.arguments["season"])
    if spec.baselines:
        for name in spec.baselines:
            find_baseline(name, length)
        names = list(dict.fromkeys(["SeasonalNaive", *spec.baselines]))
        arguments = {"names": names, "season": length}
        return season, Decision("baselines", ", ".join(names), "set by the user", arguments)
    n_zeros = series.frame["y"].eq(0.0).groupby(series.frame["unique_id"]).sum()
    intervals = series.lengths / (series.lengths - n_zeros).clip(lower=1)
    blocks = 1 + int(verification.arguments["origins"])
    workers = local_workers(spec.workers, spec.trials)
    facts = BaselineFacts(
        n_series=series.n_series,
        median_length=int(series.lengths.median()),
        season=length,
        demand_interval=float(intervals.median()),
        is_installed=is_installed(),
        n_windows=blocks * n_windows(spec.validation_size, spec.horizon, spec.validation_step_size),
        seconds=None if spec.time_budget is None else SHARE / 3 * spec.time_budget * workers,
    )
    return season, choose_baselines(facts)


def _refuse_requirement_without_holdout(spec: StudySpec, evaluation: Sequence[Decision]) -> None:
    name = spec.require_better_than
    if name is None:
        return
    if not spec.holdout:
        raise InputError("require_better_than", name, "there is no holdout to judge on: write --holdout too.")
    baselines = next(decision for decision in evaluation if decision.subject == "baselines").arguments["names"]
    known = ["naive", "default", *baselines]
    if name.lower() not in [each.lower() for each in known]:
        raise InputError("require_better_than", repr(name), did_you_mean(name, known))


def data_facts(spec: StudySpec, series: Series) -> DataFacts:
    """Return the facts of the data that the policies read."""
    lengths = series.lengths
    return DataFacts(
        n_series=series.n_series,
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        n_rows=int(lengths.sum()),
        horizon=spec.horizon,
        val_size=spec.validation_size,
        holdout=spec.holdout or 0,
    )


def _refuse_foreign_exogenous(spec: StudySpec, model: ModelEntry) -> None:
    kind_names = {"hist": "historical", "futr": "future", "stat": "static"}
    for kind, takes in model.exogenous.items():
        columns = getattr(spec, f"{kind}_exog")
        if columns and not takes:
            raise InputError(
                f"{kind}_exog",
                ", ".join(columns),
                f"{model.name} takes no {kind_names[kind]} exogenous columns: leave them out, or write another model.",
            )
    if spec.futr_data and not spec.futr_exog:
        raise InputError("futr_data", spec.futr_data, "write --futr-exog with the columns to take from it.")
    if spec.futr_exog and not spec.futr_data:
        remedy = "write --futr-data with a file that holds their values for the horizon."
        raise InputError("futr_exog", ", ".join(spec.futr_exog), remedy)


def _refuse_unequal_spans(model: ModelEntry, series: Series) -> None:
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
