"""The policies of the Ray back-end: which searcher suggests trials, and which scheduler stops them."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from castpool.sampler_policies.class_lookup import build, find_class
from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, SamplerFacts
from castpool.sampler_policies.rules.choose_pruner import (
    FEW_CHECKS,
    FEW_TRIALS,
    REDUCTION_FACTOR,
    SEVERAL_OBJECTIVES,
)
from castpool.sampler_policies.rules.choose_sampler import not_exhaustive
from castpool.sampler_policies.rules.rule import Rule, choose, no_objection
from castpool.sampler_policies.spaces.ray_domains import to_ray
from castpool.sampler_policies.spaces.space import Space

# Searchers that ask the study's sampler through Ray (`castpool.workers.ray_backend.searcher`).
STUDY_SEARCHERS = ("OptunaSearch", "BasicVariant")
CUSTOM_SEARCHERS = {"HyperOpt": "ray.tune.search.hyperopt:HyperOptSearch"}
NEEDED_PACKAGES = {"HyperOptSearch": "hyperopt"}
SCHEDULERS = {
    "ASHA": "ray.tune.schedulers:ASHAScheduler",
    "HyperBand": "ray.tune.schedulers:HyperBandScheduler",
    "MedianStopping": "ray.tune.schedulers:MedianStoppingRule",
    "PBT": "ray.tune.schedulers:PopulationBasedTraining",
    "FIFO": "ray.tune.schedulers:FIFOScheduler",
}
GRACE_SHARE = 9


def choose_searcher(facts: SamplerFacts, given: str | None, arguments: Mapping[str, Any]) -> Decision:
    """Decide which searcher suggests trials. ``given`` is the one that the user chose, by name or path; it always wins.

    Raises:
        InputError: no searcher of that name, a missing package, or a branching space with a searcher that takes none.
    """
    if given is None:
        return choose(RAY_SEARCHERS, facts)
    if (name := _find_study_searcher(given)) is not None:
        if arguments:
            raise InputError("searcher", dict(arguments), f"{name} asks the study's sampler: write --sampler instead.")
        return Decision("searcher", name, "set by the user", rule="user's choice")
    if facts.space.branches:
        remedy = "the space branches, which only OptunaSearch supports: leave it out."
        raise InputError("searcher", repr(given), remedy)
    _searcher_class(given)
    return Decision("searcher", given, "set by the user", dict(arguments), rule="user's choice")


def choose_scheduler(budget: BudgetFacts, given: str | None, arguments: Mapping[str, Any]) -> Decision:
    """Decide which scheduler stops trials. ``given`` is the one that the user chose, by name or path; it always wins.

    Raises:
        InputError: there is no scheduler of that name.
    """
    if given is None:
        return choose(RAY_SCHEDULERS, budget)
    reason, completed = "set by the user", dict(arguments)
    if _names_scheduler(given, "ASHA"):
        completed = {**_asha_arguments(budget), **completed}
    elif _names_scheduler(given, "HyperBand"):
        completed = {"max_t": budget.checks, **completed}
    elif _names_scheduler(given, "PBT"):
        reason += "; neuralforecast's Ray trials save no checkpoints, so PBT cannot copy weights between trials"
    return Decision("scheduler", given, reason, completed, rule="user's choice")


def build_searcher(decision: Decision, space: Space, seed: int) -> Any:
    """Build the searcher that a decision names; None where the study's sampler suggests.

    Raises:
        InputError: as `choose_searcher`, or the searcher does not take these arguments.
    """
    if decision.choice in STUDY_SEARCHERS:
        return None
    cls = _searcher_class(decision.choice)
    arguments = dict(decision.arguments)
    if cls.__name__ == "HyperOptSearch":
        arguments.setdefault("random_state_seed", seed % 2**32)
    searcher = build("searcher", cls, arguments)
    domains = _ray_domains(space)
    searcher.set_search_properties("loss", "min", domains)
    return searcher


def build_scheduler(decision: Decision, space: Space | None) -> Any:
    """Build the scheduler that a decision names.

    Raises:
        InputError: there is no such scheduler, or it does not take these arguments.
    """
    from ray.tune import schedulers

    cls = find_class("scheduler", decision.choice, schedulers, schedulers.TrialScheduler, SCHEDULERS)
    arguments = dict(decision.arguments)
    if cls.__name__ == "PopulationBasedTraining" and space is not None:
        domains = _ray_domains(space)
        arguments.setdefault("hyperparam_mutations", domains)
    return build("scheduler", cls, arguments)


def _ray_domains(space: Space) -> dict[str, Any]:
    domains = {parameter.name: to_ray(parameter) for parameter in space.parameters}
    return {name: domain for name, domain in domains.items() if domain is not None}


def _find_study_searcher(written: str) -> str | None:
    known = {alias: name for name in STUDY_SEARCHERS for alias in (name.lower(), name.lower().removesuffix("search"))}
    return known.get(written.lower())


def _names_scheduler(written: str, name: str) -> bool:
    return written.lower() in (name.lower(), SCHEDULERS[name].partition(":")[2].lower())


def _searcher_class(written: str) -> type[Any]:
    search = importlib.import_module("ray.tune.search")
    cls: type[Any] = find_class("searcher", written, search, search.Searcher, CUSTOM_SEARCHERS)
    package = NEEDED_PACKAGES.get(cls.__name__)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError("searcher", repr(written), f"it needs a package: pip install {package}.")
    return cls


def _basic_variant(facts: SamplerFacts) -> Decision:
    reason = f"{facts.budget.trials} trials are enough to try each of the {facts.space.n_points} points once"
    return Decision("searcher", "BasicVariant", reason)


def _optuna_search(facts: SamplerFacts) -> Decision:
    reason = "the study's sampler suggests, from all stored trials, so that a resumed run loses none"
    return Decision("searcher", "OptunaSearch", reason)


def _without_stopping(rule: Rule[BudgetFacts]) -> Rule[BudgetFacts]:
    """Return a pruner's rule as a scheduler's: where no pruner stops trials, none of Ray's schedulers does."""
    return replace(rule, decide=lambda budget: Decision("scheduler", "FIFO", rule.decide(budget).reason))


def _asha_arguments(budget: BudgetFacts) -> dict[str, Any]:
    grace = max(1, math.ceil(budget.checks / GRACE_SHARE))
    return {"max_t": max(budget.checks, grace), "grace_period": grace, "reduction_factor": REDUCTION_FACTOR}


def _asha(budget: BudgetFacts) -> Decision:
    arguments = _asha_arguments(budget)
    grace = arguments["grace_period"]
    reason = (
        f"each trial gets {grace} of {budget.checks} checks before it can be stopped; the best third is promoted after "
        f"{grace}, {grace * REDUCTION_FACTOR}, ... checks, asynchronously"
    )
    return Decision("scheduler", "ASHA", reason, arguments)


RAY_SEARCHERS: tuple[Rule[SamplerFacts], ...] = (
    Rule("every point once", "no more points than trials", not_exhaustive, _basic_variant),
    Rule("the study's sampler", "everything else", no_objection, _optuna_search),
)
RAY_SCHEDULERS: tuple[Rule[BudgetFacts], ...] = (
    *map(_without_stopping, (SEVERAL_OBJECTIVES, FEW_TRIALS, FEW_CHECKS)),
    Rule("ASHA", "everything else", no_objection, _asha),
)
