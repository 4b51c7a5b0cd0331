"""From a decision to a sampler with the right seed, and cautions about a sampler that the user chose."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from castpool.private_api.optuna import population_size_of, startup_trials_of
from castpool.sampler_policies.class_lookup import build, find_class
from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, SpaceFacts
from castpool.sampler_policies.samplers.phases import Phase, PhasedSampler

SHARED_SEED = 1
SEEDS = 2**32  # numpy takes no larger ones
# Optuna imports these when it samples the first trial, which is too late to report that one is missing.
NEEDED_PACKAGES = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}
CUSTOM_SAMPLERS = {
    "CurveGP": "castpool.sampler_policies.samplers.curve_gp:CurveGPSampler",
    "Exhaustive": "castpool.sampler_policies.samplers.exhaustive:ExhaustiveSampler",
    "IndexedQMC": "castpool.sampler_policies.samplers.phases:IndexedQMCSampler",
    "Phased": "castpool.sampler_policies.samplers.phases:PhasedSampler",
}
GP_CAUTION_TRIALS = 500


def build_sampler(
    decision: Decision, seed: int, search_space: Mapping[str, BaseDistribution] | None = None
) -> BaseSampler:
    """Build the sampler that a decision names, with the worker's seed.

    Workers with one seed would draw the same points, so a seed among the decision's arguments is added to the
    worker's. With QMC all workers share the seed of one sequence; only the parameters outside of it use worker seeds.

    Args:
        decision: names a sampler of Optuna or castpool, or has the path of any other.
        seed: of the worker.
        search_space: the parameters of every trial, where they are known in advance.

    Raises:
        InputError: there is no such sampler, it does not take these arguments, or its package is missing.
    """
    return _build(decision.choice, decision.arguments, seed, search_space)


def _build(
    name: str, arguments: Mapping[str, Any], seed: int, space: Mapping[str, BaseDistribution] | None
) -> BaseSampler:
    cls = find_class("sampler", name, optuna.samplers, BaseSampler, CUSTOM_SAMPLERS)  # type: ignore[type-abstract]
    for base, package in NEEDED_PACKAGES.items():
        if any(ancestor.__name__ == base for ancestor in cls.__mro__) and importlib.util.find_spec(package) is None:
            raise InputError("sampler", repr(name), f"it needs a package: pip install {package}.")
    arguments = dict(arguments)
    if "phases" in arguments:
        phases = [
            Phase(_build(phase["sampler"], phase.get("arguments", {}), seed, space), phase.get("until"))
            for phase in arguments["phases"]
        ]
        return build("sampler", cls, {"phases": phases, "search_space": space})
    if "seed" in inspect.signature(cls).parameters:
        worker_seed = _add_seeds(arguments.get("seed"), seed)
        if issubclass(cls, optuna.samplers.QMCSampler):
            shared = {"seed": SHARED_SEED, **arguments}
            arguments = {**shared, "independent_sampler": optuna.samplers.RandomSampler(seed=worker_seed)}
        else:
            arguments["seed"] = worker_seed
    return build("sampler", cls, arguments)


def _add_seeds(asked: Any, worker_seed: int) -> int:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 0):
        raise InputError("sampler", f"the seed {asked!r}", "write a whole number of at least 0.")
    return (worker_seed + (asked or 0)) % SEEDS


def sampler_name(study: optuna.Study, trial: FrozenTrial) -> str:
    """Return the name of the study's sampler; with phases, the name of the sampler of the trial's phase."""
    sampler = study.sampler
    if isinstance(sampler, PhasedSampler):
        sampler = sampler.sampler_of(study, trial)
    return type(sampler).__name__.removesuffix("Sampler")


def cautions(sampler: BaseSampler, space: SpaceFacts, budget: BudgetFacts) -> list[str]:
    """Return the known weaknesses of the user's sampler for this study; it is used all the same."""
    found: list[str] = []
    samplers = optuna.samplers
    if isinstance(sampler, samplers.CmaEsSampler):
        if space.n_unordered:
            found.append(f"CMA-ES samples the {space.n_unordered} parameters without an order at random")
        if space.branches:
            found.append("CMA-ES samples conditional parameters at random")
    if isinstance(sampler, samplers.GPSampler) and budget.trials > GP_CAUTION_TRIALS:
        found.append(f"a Gaussian process fitted to {budget.trials} trials takes seconds per trial")
    if isinstance(sampler, samplers.GPSampler) and space.branches:
        found.append("a Gaussian process samples conditional parameters at random")
    population = population_size_of(sampler)
    if population is not None and isinstance(sampler, samplers.NSGAIISampler):
        if population > budget.trials:
            found.append(f"{budget.trials} trials are less than one generation of {population}")
        if budget.workers > population:
            found.append(f"{budget.workers} workers are more than the {population} trials of a generation")
    startup = startup_trials_of(sampler)
    if startup >= budget.trials:
        found.append(f"its first {startup} trials are random, and the study has {budget.trials}")
    return found
