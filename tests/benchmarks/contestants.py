"""The samplers of the benchmark: castpool's policy, Random, Optuna's TPE and GP, and OptunaHub's AutoSampler."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution

from castpool.sampler_policies.facts import BudgetFacts
from castpool.sampler_policies.rules.choose_sampler import choose_sampler
from castpool.sampler_policies.samplers.build import build_sampler
from castpool.sampler_policies.spaces.parameter import Parameter
from castpool.sampler_policies.spaces.space import Space
from tests.benchmarks.problems import Problem

Maker = Callable[[int], optuna.samplers.BaseSampler]


def budget_of(problem: Problem, trials: int, workers: int) -> BudgetFacts:
    """Return the facts of the simulated study that the policies get."""
    return BudgetFacts(trials, workers, problem.max_steps, problem.val_check_steps)


def choose_maker(name: str, problem: Problem, trials: int, workers: int, seed: int) -> tuple[Maker, Space]:
    """Return the function that makes a worker's sampler, and the space that it samples."""
    space, first_seed = problem.space, seed * 10_007
    if name == "castpool":
        decision = choose_sampler(space.facts, budget_of(problem, trials, workers), None, {})
        return lambda worker: build_sampler(decision, first_seed + worker, space.distributions), space
    if name == "Random":
        return lambda worker: optuna.samplers.RandomSampler(seed=first_seed + worker), space
    if name == "Optuna's default":
        return lambda worker: optuna.samplers.TPESampler(seed=first_seed + worker), space
    if name == "Optuna's default, categories":
        return lambda worker: optuna.samplers.TPESampler(seed=first_seed + worker), as_categories(space)
    if name == "GP":
        return lambda worker: optuna.samplers.GPSampler(seed=first_seed + worker), space
    if name == "AutoSampler":
        sampler_class = load_auto_sampler()
        return lambda worker: sampler_class(seed=first_seed + worker), space
    raise ValueError(name)


def as_categories(space: Space) -> Space:
    """Return the space as NeuralForecast itself passes it to Optuna: every choice is a category."""

    def make_categorical(parameter: Parameter) -> Parameter:
        if not parameter.grid():
            return parameter
        values = parameter.grid()
        names = [value if isinstance(value, int | float | str) else json.dumps(value) for value in values]
        return Parameter(parameter.name, "choice", CategoricalDistribution(names), tuple(values))

    return Space(tuple(make_categorical(parameter) for parameter in space.parameters), space.constants)


def load_auto_sampler() -> Any:
    """Return OptunaHub's AutoSampler, from a copy of its registry at $OPTUNAHUB_REGISTRY or from the network.

    Raises:
        ImportError: the package is missing, or both are.
    """
    try:
        import optunahub  # type: ignore[import-not-found, unused-ignore]

        if registry := os.environ.get("OPTUNAHUB_REGISTRY"):
            return optunahub.load_local_module("samplers/auto_sampler", registry_root=f"{registry}/package").AutoSampler
        return optunahub.load_module("samplers/auto_sampler").AutoSampler
    except Exception as error:
        raise ImportError(str(error)) from error
