"""The policy that chooses models where the user writes `auto`: a few that differ, each for a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.rules.rule import no_objection
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry

# Attention over patches pays off where the input holds many patches.
LONG_HORIZONS = 20
# A joint model has weights for each pair of series, or weights of each series.
MOST_JOINT_SERIES = 500
COLUMN_KINDS = {"hist": "historical", "futr": "future", "stat": "static"}


@dataclass(frozen=True)
class ModelFacts:
    """Facts for the model policy. ``exogenous`` are the kinds of columns that the study names: hist, futr, stat.

    ``is_joint`` says that there are several series and all span the same time.
    """

    data: DataFacts
    exogenous: frozenset[str] = frozenset()
    is_joint: bool = False


@dataclass(frozen=True)
class ModelRule:
    """A model that `auto` may choose; unlike with `Rule`, all models without an objection are chosen.

    Attributes:
        name: of the model.
        condition: in words, the studies that the model is for.
        reason: why it is chosen.
        objection: returns why the model is rejected for these facts, or None where it is chosen.
    """

    name: str
    condition: str
    reason: str
    objection: Callable[[ModelFacts], str | None]


def choose_models(known: Mapping[str, ModelEntry], facts: ModelFacts) -> list[Decision]:
    """Return a decision for each chosen model; the first one says why the other models were rejected.

    Raises:
        InputError: every model was rejected.
    """
    objections = {rule.name: _objection(rule, known.get(rule.name), facts) for rule in MODELS}
    chosen = [rule for rule in MODELS if objections[rule.name] is None]
    if not chosen:
        raise InputError("model", "'auto'", f"no model fits ({objections}); write one of {', '.join(known)}.")
    rejected = {name: objection for name, objection in objections.items() if objection is not None}
    first, *others = chosen
    decisions = [Decision("model", first.name, first.reason, rule=first.name, rejected=rejected)]
    return [*decisions, *(Decision("model", rule.name, rule.reason, rule=rule.name) for rule in others)]


def share_time(seconds: float, n_models: int, n_workers: int) -> Decision:
    """Decide on the time of each study where several models have a time limit together.

    The time of a study passes while at least one worker works on it: with fewer workers than models, the studies wait
    for each other.

    Args:
        seconds: of all studies together.
        n_models: the number of studies.
        n_workers: of the pool that serves them.

    Returns:
        A decision with the argument ``time_budget``.
    """
    each = seconds * min(1.0, n_workers / n_models)
    workers = "1 worker serves" if n_workers == 1 else f"{n_workers} workers serve"
    reason = f"{workers} the {n_models} studies, which together take {seconds:.15g} s"
    return Decision("time", f"{each:.4g} s for each model", reason, {"time_budget": round(each, 3)})


def _objection(rule: ModelRule, entry: ModelEntry | None, facts: ModelFacts) -> str | None:
    if entry is None:
        return "the installed neuralforecast does not have it"
    refused = [COLUMN_KINDS[kind] for kind in sorted(facts.exogenous) if not entry.exogenous[kind]]
    if refused:
        return f"it takes no {' or '.join(refused)} columns"
    return rule.objection(facts)


def _short_input(facts: ModelFacts) -> str | None:
    longest, horizon = facts.data.longest_input, facts.data.horizon
    if longest < LONG_HORIZONS * horizon:
        return f"{longest} observations of input are less than {LONG_HORIZONS} horizons"
    return None


def _no_exogenous(facts: ModelFacts) -> str | None:
    return None if facts.exogenous else "there are no exogenous columns for it to use"


def _not_joint(facts: ModelFacts) -> str | None:
    if not facts.is_joint:
        return "it forecasts series jointly, which takes several series that span the same time"
    series = facts.data.n_series
    return f"{series} series are too many to forecast jointly" if series > MOST_JOINT_SERIES else None


def _not_joint_or_exogenous(facts: ModelFacts) -> str | None:
    return _not_joint(facts) or _no_exogenous(facts)


MODELS: tuple[ModelRule, ...] = (
    ModelRule("NHITS", "everything", "it trains fast and is rarely far from the best", no_objection),
    ModelRule("DLinear", "no exogenous columns", "it is linear: a baseline for the other models", no_objection),
    ModelRule("TiDE", "exogenous columns", "it uses exogenous columns of every kind and trains fast", _no_exogenous),
    ModelRule(
        "PatchTST",
        f"inputs of {LONG_HORIZONS} horizons and more",
        "the series are long enough for attention",
        _short_input,
    ),
    ModelRule("TSMixer", "several series of one span", "it models the dependencies between the series", _not_joint),
    ModelRule(
        "TSMixerx",
        "several series of one span with exogenous columns",
        "it models the dependencies between the series and their columns",
        _not_joint_or_exogenous,
    ),
)
