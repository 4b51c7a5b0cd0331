"""From a decision to a sampler with the right seed, and what a user's own sampler cannot do."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts, SpaceFacts
from sampler_policies.named import build, find_class
from sampler_policies.phases import Phase, PhasedSampler

SHARED_SEED = 1
SEEDS = 2**32  # numpy takes no larger ones
# Optuna imports these when the first trial is sampled, which is too late to say that one is missing.
NEEDED_PACKAGES = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}
OWN = {
    "CurveGP": "sampler_policies.curve_gp:CurveGPSampler",
    "Exhaustive": "sampler_policies.exhaustive:ExhaustiveSampler",
    "NumberedQMC": "sampler_policies.phases:NumberedQMCSampler",
    "Phased": "sampler_policies.phases:PhasedSampler",
}
MOST_GP_TRIALS = 500


def build_sampler(
    decision: Decision, seed: int, search_space: Mapping[str, BaseDistribution] | None = None
) -> BaseSampler:
    """Build the sampler that a decision names, with a seed of the worker's own.

    Workers with one seed would draw the same points, so a seed among the decision's arguments is added to the
    worker's. QMC's workers do share a seed, because they share one sequence, but not what they draw beside it.

    Args:
        decision: names a sampler of Optuna or of ours, or the path of any other.
        seed: the worker's.
        search_space: what every trial samples, where that is known beforehand.

    Raises:
        InputError: no such sampler, one that does not take these arguments, or one whose package is missing.
    """
    return _build(decision.choice, decision.arguments, seed, search_space)


def _build(
    name: str, arguments: Mapping[str, Any], seed: int, space: Mapping[str, BaseDistribution] | None
) -> BaseSampler:
    cls = find_class("sampler", name, optuna.samplers, BaseSampler, OWN)  # type: ignore[type-abstract]
    for base, package in NEEDED_PACKAGES.items():
        if any(own.__name__ == base for own in cls.__mro__) and importlib.util.find_spec(package) is None:
            raise InputError("sampler", repr(name), f"it needs a package: pip install {package}.")
    arguments = dict(arguments)
    if "phases" in arguments:
        phases = [
            Phase(_build(own["sampler"], own.get("arguments", {}), seed, space), own.get("until"))
            for own in arguments["phases"]
        ]
        return build("sampler", cls, {"phases": phases, "search_space": space})
    if "seed" in inspect.signature(cls).parameters:
        own_seed = _own_seed(arguments.get("seed"), seed)
        if issubclass(cls, optuna.samplers.QMCSampler):
            shared = {"seed": SHARED_SEED, **arguments}
            arguments = {**shared, "independent_sampler": optuna.samplers.RandomSampler(seed=own_seed)}
        else:
            arguments["seed"] = own_seed
    return build("sampler", cls, arguments)


def _own_seed(asked: Any, own: int) -> int:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 0):
        raise InputError("sampler", f"the seed {asked!r}", "write a whole number of at least 0.")
    return (own + (asked or 0)) % SEEDS


def sampler_name(study: optuna.Study, trial: FrozenTrial) -> str:
    """Return the name of the study's sampler; of one with phases, the name of the trial's phase."""
    sampler = study.sampler
    if isinstance(sampler, PhasedSampler):
        sampler = sampler.sampler_of(study, trial)
    return type(sampler).__name__.removesuffix("Sampler")


def cautions(sampler: BaseSampler, space: SpaceFacts, budget: BudgetFacts) -> list[str]:
    """Return what speaks against a sampler that the user asked for; it is used all the same."""
    said: list[str] = []
    samplers = optuna.samplers
    if isinstance(sampler, samplers.CmaEsSampler):
        if space.n_unordered:
            said.append(f"CMA-ES draws the {space.n_unordered} parameters without an order at random")
        if space.branches:
            said.append("CMA-ES draws at random what not every trial has")
    if isinstance(sampler, samplers.GPSampler) and budget.trials > MOST_GP_TRIALS:
        said.append(f"a Gaussian process of {budget.trials} trials takes seconds a trial")
    if isinstance(sampler, samplers.GPSampler) and space.branches:
        said.append("a Gaussian process draws at random what not every trial has")
    population = getattr(sampler, "_population_size", None)
    if isinstance(population, int) and isinstance(sampler, samplers.NSGAIISampler):
        if population > budget.trials:
            said.append(f"{budget.trials} trials are less than one generation of {population}")
        if budget.workers > population:
            said.append(f"{budget.workers} workers are more than a generation of {population} keeps busy")
    startup = getattr(sampler, "_n_startup_trials", 0)
    if isinstance(startup, int) and startup >= budget.trials:
        said.append(f"its first {startup} trials are random, and the study has {budget.trials}")
    return said
