"""Rules that choose the sampler, and the sampler that a decision names."""

from __future__ import annotations

import inspect
from typing import Any

import optuna

from sampler_policies.decision import Decision
from sampler_policies.facts import BudgetFacts, SpaceFacts
from sampler_policies.named import build, find_class

SHARED_SEED = 1
FEWEST_STARTUP_TRIALS, MOST_STARTUP_TRIALS = 4, 10


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

    Raises:
        InputError: as `choose_sampler`.
    """
    cls = find_class("sampler", decision.choice, optuna.samplers, optuna.samplers.BaseSampler)
    arguments = dict(decision.arguments)
    if "seed" in inspect.signature(cls).parameters:
        # QMC's workers share one sequence, every other sampler's must differ.
        arguments.setdefault("seed", SHARED_SEED if cls is optuna.samplers.QMCSampler else seed)
    return build("sampler", cls, arguments)
