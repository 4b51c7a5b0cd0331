"""Which models a command tunes: those that it names, and for `auto` those that the data suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.model_choice import ModelFacts, choose_models
from workers.known_models import known_model, known_models
from workers.planning import Planned, plan_study
from workers.spec import StudySpec, make_spec

if TYPE_CHECKING:
    import pandas as pd

    from workers.extras import Extras

AUTO = "auto"
# `auto` looks at the data as this model, which takes whatever there is, would get them.
SCOUT = "NHITS"


@dataclass(frozen=True)
class Entrant:
    """A model that takes part: its spec, and what a configured Auto instance says beyond one."""

    spec: StudySpec
    extras: Extras | None = None
    base_space: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Lineup:
    """The models that take part, and the decisions on those that `auto` brought in."""

    entrants: tuple[Entrant, ...]
    decisions: tuple[Decision, ...] = ()


def line_up(values: Mapping[str, Any], table: pd.DataFrame | None = None) -> Lineup:
    """Return who takes part. ``values["model"]`` is a name, a configured Auto model, or a list of those.

    Each gets a study of its own with the whole budget. A ``name`` that several share gets the model's behind it.

    Raises:
        InputError: a value that cannot work, in one sentence.
    """
    asked = values.get("model", StudySpec.model_fields["model"].default)
    models = list(asked) if isinstance(asked, list | tuple) else [asked]
    if not models:
        raise InputError("model", "[]", "write at least one model, or auto.")
    decisions: list[Decision] = []
    readings: list[Entrant] = []
    for model in models:
        if not isinstance(model, str):
            readings.append(_configured(model, values))
        elif model.lower() == AUTO:
            decisions = _decisions(values, table)
            readings += [Entrant(make_spec({**values, "model": own.choice})) for own in decisions]
        else:
            readings.append(Entrant(make_spec({**values, "model": model})))
    if len(readings) == 1:
        return Lineup(tuple(readings), tuple(decisions))
    entrants = _each_once([_spelt_out(own) for own in readings])
    return Lineup(tuple(entrants) if len(entrants) == 1 else tuple(map(_named, entrants)), tuple(decisions))


def _configured(model: Any, values: Mapping[str, Any]) -> Entrant:
    from workers.auto_instance import read_auto

    read = read_auto(model)
    others = {key: value for key, value in values.items() if key != "model"}
    return Entrant(make_spec({**read.values, **others}), read.extras, read.base_space)


def _decisions(values: Mapping[str, Any], table: pd.DataFrame | None) -> list[Decision]:
    planned = plan_study(make_spec({**values, "model": SCOUT}), known_model(SCOUT), table)
    return choose_models(known_models(), model_facts(planned))


def model_facts(planned: Planned) -> ModelFacts:
    """Return what the model policy may know of checked data."""
    spec = planned.spec
    kinds = frozenset(kind for kind in ("hist", "futr", "stat") if getattr(spec, f"{kind}_exog"))
    spans = planned.series.frame.groupby("unique_id")["ds"].agg(["min", "max"])
    is_joint = len(spans) > 1 and bool((spans == spans.iloc[0]).all(axis=None))
    return ModelFacts(planned.data, kinds, is_joint)


def _each_once(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return the entrants without a second one of the same model, which would be the same study.

    Raises:
        InputError: two that differ in what a configured Auto instance says.
    """
    first: dict[str, Entrant] = {}
    for own in entrants:
        before = first.setdefault(own.spec.model, own)
        if before != own:
            raise InputError("model", f"two configured {before.spec.model}", "tune them one after another.")
    return list(first.values())


def _spelt_out(entrant: Entrant) -> Entrant:
    """Return the entrant with its model's name as the catalogue spells it."""
    name = known_model(entrant.spec.model).name
    return replace(entrant, spec=entrant.spec.model_copy(update={"model": name}))


def _named(entrant: Entrant) -> Entrant:
    spec = entrant.spec
    if spec.name is None:
        return entrant
    return replace(entrant, spec=spec.model_copy(update={"name": f"{spec.name}-{spec.model}"}))
