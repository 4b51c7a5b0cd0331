"""The models that a command tunes: those that it names, and for `auto` those that suit the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_models import ModelFacts, choose_models, share_time
from castpool.workers.planning.model_cache import known_model, known_models
from castpool.workers.planning.plan_study import PlannedStudy, plan_study
from castpool.workers.spec.tune_request import ModelRequest, TuneRequest
from castpool.workers.support.machine import local_workers

if TYPE_CHECKING:
    import pandas as pd

    from castpool.workers.spec.study_spec import StudySpec

AUTO = "auto"
# `auto` reads the data as this model would: it takes exogenous columns of every kind.
SCOUT = "NHITS"


@dataclass(frozen=True)
class ModelSelection:
    """The models to tune, by the names of the catalogue, and the decisions on those that `auto` selected."""

    candidates: tuple[ModelRequest, ...]
    decisions: tuple[Decision, ...] = ()


def select_models(request: TuneRequest, table: pd.DataFrame | None = None) -> ModelSelection:
    """Return the models to tune: `auto` is replaced by what suits the data, and each model is in once.

    Each model gets its own study, with all trials and training steps, and with its share of the time. A ``name`` that
    several share is followed by the model's.

    Raises:
        InputError: an unknown model, two configurations of one model, or data that `auto` cannot read.
    """
    decisions: list[Decision] = []
    candidates: list[ModelRequest] = []
    for model in request.models:
        if model.spec.model.lower() == AUTO:
            decisions = _choose(model.spec, table)
            candidates += [_with(model, model=str(decision.choice)) for decision in decisions]
        else:
            candidates.append(model)
    if len(candidates) > 1:
        candidates = _each_once([_with_catalogue_name(candidate) for candidate in candidates])
    if len(candidates) > 1:
        candidates = [_with_study_name(candidate) for candidate in candidates]
        if (limit := candidates[0].spec.time_budget) is not None:
            decision = share_time(limit, len(candidates), _count_workers(candidates))
            decisions.append(decision)
            candidates = [_with(candidate, **decision.arguments) for candidate in candidates]
    return ModelSelection(tuple(candidates), tuple(decisions))


def _count_workers(candidates: Sequence[ModelRequest]) -> int:
    return local_workers(candidates[0].spec.workers, sum(candidate.spec.trials for candidate in candidates))


def _choose(spec: StudySpec, table: pd.DataFrame | None) -> list[Decision]:
    planned = plan_study(spec.model_copy(update={"model": SCOUT}), known_model(SCOUT), table)
    return choose_models(known_models(), model_facts(planned))


def model_facts(planned: PlannedStudy) -> ModelFacts:
    """Return what the model policy may know of checked data."""
    spec = planned.spec
    kinds = frozenset(kind for kind in ("hist", "futr", "stat") if getattr(spec, f"{kind}_exog"))
    spans = planned.series.frame.groupby("unique_id")["ds"].agg(["min", "max"])
    is_joint = len(spans) > 1 and bool((spans == spans.iloc[0]).all(axis=None))
    return ModelFacts(planned.data, kinds, is_joint)


def _each_once(candidates: Sequence[ModelRequest]) -> list[ModelRequest]:
    """Return the candidates without repetitions of a model, which would be the same study.

    Raises:
        InputError: two of one model that differ in the configuration of an Auto instance.
    """
    first: dict[str, ModelRequest] = {}
    for candidate in candidates:
        before = first.setdefault(candidate.spec.model, candidate)
        if before != candidate:
            raise InputError("model", f"two configured {before.spec.model}", "tune them one after another.")
    return list(first.values())


def _with(candidate: ModelRequest, **changed: Any) -> ModelRequest:
    return replace(candidate, spec=candidate.spec.model_copy(update=changed))


def _with_catalogue_name(candidate: ModelRequest) -> ModelRequest:
    return _with(candidate, model=known_model(candidate.spec.model).name)


def _with_study_name(candidate: ModelRequest) -> ModelRequest:
    spec = candidate.spec
    return candidate if spec.name is None else _with(candidate, name=f"{spec.name}-{spec.model}")
