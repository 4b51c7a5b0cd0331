"""Rules that choose the sampler, and the sampler that a decision names."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import optuna

from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts, SpaceFacts
from sampler_policies.named import build, find_class

SHARED_SEED = 1
SEEDS = 2**32  # numpy takes no larger ones
FEWEST_STARTUP_TRIALS, MOST_STARTUP_TRIALS = 4, 10
# Optuna imports these when the first trial is sampled, which is too late to say that one is missing.
NEEDED_PACKAGES = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}


def choose_sampler(space: SpaceFacts, budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide how parameters are sampled. ``given`` is the user's own choice, by name, and always wins.

    Raises:
        InputError: no sampler of that name, or one that does not take these arguments.
    """
    if given is not None:
        decision = Decision("sampler", given, "it was asked for", arguments)
        build_sampler(decision, seed=0)
        return decision
    startup = min(max(budget.trials // 5, FEWEST_STARTUP_TRIALS), MOST_STARTUP_TRIALS)
    tpe: dict[str, Any] = {"multivariate": True, "constant_liar": True, "n_startup_trials": startup}
    if space.is_function:
        tpe["group"] = True
        reason = "the space is a function, which may branch, and TPE models each branch's parameters as a group"
    else:
        reason = f"it learns from pruned trials too and models the {space.n_parameters} parameters together"
    if budget.workers > 1:
        reason += f"; constant_liar keeps {budget.workers} workers from trying the same point"
    return Decision("sampler", "TPE", reason, tpe)


def build_sampler(decision: Decision, seed: int) -> optuna.samplers.BaseSampler:
    """Build the sampler that a decision names, with a seed of the worker's own.

    Workers with one seed would draw the same points, so a seed among the decision's arguments is added to the
    worker's. QMC's workers do share a seed, because they share one sequence, but not what they draw beside it.

    Raises:
        InputError: as `choose_sampler`.
    """
    cls = find_class("sampler", decision.choice, optuna.samplers, optuna.samplers.BaseSampler)  # type: ignore[type-abstract]
    package = NEEDED_PACKAGES.get(cls.__name__)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError("sampler", repr(decision.choice), f"it needs a package: pip install {package}.")
    arguments = dict(decision.arguments)
    if "seed" in inspect.signature(cls).parameters:
        own = _own_seed(arguments.get("seed"), seed)
        if cls is optuna.samplers.QMCSampler:
            shared = {"seed": SHARED_SEED, **arguments}
            arguments = {**shared, "independent_sampler": optuna.samplers.RandomSampler(seed=own)}
        else:
            arguments["seed"] = own
    return build("sampler", cls, arguments)


def _own_seed(asked: Any, own: int) -> int:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 0):
        raise InputError("sampler", f"the seed {asked!r}", "write a whole number of at least 0.")
    return (own + (asked or 0)) % SEEDS
