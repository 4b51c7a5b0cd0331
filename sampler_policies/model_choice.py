"""The policy that chooses models where the user writes `auto`: a few that differ, each for a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sampler_policies.catalogue import ModelEntry
from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.facts import DataFacts

# A patch of history is of use where many patches follow each other.
LONG_HORIZONS = 20
# A joint model has weights for each pair of series, or each series' own.
MOST_JOINT_SERIES = 500


@dataclass(frozen=True)
class ModelFacts:
    """What the model policy looks at. ``exogenous`` are the kinds of columns that the study names: hist, futr, stat.

    ``is_joint`` says that there are several series and all span the same time.
    """

    data: DataFacts
    exogenous: frozenset[str] = frozenset()
    is_joint: bool = False


@dataclass(frozen=True)
class ModelCandidate:
    """A model that `auto` may choose. ``objection`` says what speaks against it, None for nothing."""

    name: str
    when: str
    reason: str
    objection: Callable[[ModelFacts], str | None]


def choose_models(known: Mapping[str, ModelEntry], facts: ModelFacts) -> list[Decision]:
    """Return a decision for each chosen model; what spoke against the others is in the first.

    Raises:
        InputError: something speaks against every one.
    """
    objections = {own.name: _objection(own, known.get(own.name), facts) for own in MODELS}
    chosen = [own for own in MODELS if objections[own.name] is None]
    if not chosen:
        raise InputError("model", "'auto'", f"no model fits ({objections}); write one of {', '.join(known)}.")
    rejected = {name: said for name, said in objections.items() if said is not None}
    first, *others = chosen
    decisions = [Decision("model", first.name, first.reason, rule=first.name, rejected=rejected)]
    return [*decisions, *(Decision("model", own.name, own.reason, rule=own.name) for own in others)]


def _objection(candidate: ModelCandidate, entry: ModelEntry | None, facts: ModelFacts) -> str | None:
    if entry is None:
        return "the installed neuralforecast does not have it"
    words = {"hist": "historical", "futr": "future", "stat": "static"}
    refused = [words[kind] for kind in sorted(facts.exogenous) if not entry.exogenous[kind]]
    if refused:
        return f"it takes no {' or '.join(refused)} columns"
    return candidate.objection(facts)


def _nothing(facts: ModelFacts) -> None:
    return None


def _short(facts: ModelFacts) -> str | None:
    longest, horizon = facts.data.longest_input, facts.data.horizon
    if longest < LONG_HORIZONS * horizon:
        return f"{longest} observations of input are less than {LONG_HORIZONS} horizons"
    return None


def _no_exogenous(facts: ModelFacts) -> str | None:
    return None if facts.exogenous else "there are no exogenous columns for it to use"


def _not_joint(facts: ModelFacts) -> str | None:
    if not facts.is_joint:
        return "it forecasts several series of one span jointly, which these are not"
    series = facts.data.n_series
    return f"{series} series are too many to forecast jointly" if series > MOST_JOINT_SERIES else None


def _not_joint_or_exogenous(facts: ModelFacts) -> str | None:
    return _not_joint(facts) or _no_exogenous(facts)


MODELS: tuple[ModelCandidate, ...] = (
    ModelCandidate("NHITS", "everything", "it is quick and seldom far from the best", _nothing),
    ModelCandidate(
        "DLinear", "no exogenous columns", "it is linear: what the others must beat to be worth it", _nothing
    ),
    ModelCandidate("TiDE", "exogenous columns", "it uses exogenous columns of every kind, and is quick", _no_exogenous),
    ModelCandidate(
        "PatchTST", f"inputs of {LONG_HORIZONS} horizons and more", "the series are long enough for attention", _short
    ),
    ModelCandidate(
        "TSMixer", "several series of one span", "it learns what the series tell about each other", _not_joint
    ),
    ModelCandidate(
        "TSMixerx",
        "several series of one span with exogenous columns",
        "it learns what the series and their columns tell about each other",
        _not_joint_or_exogenous,
    ),
)
