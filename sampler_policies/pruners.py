"""Rules that choose the pruner, and the pruner that a decision names."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner

from sampler_policies.decision import Decision
from sampler_policies.facts import BudgetFacts
from sampler_policies.named import build, find_class

FEWEST_TRIALS = 4
FEWEST_CHECKS = 3
REDUCTION_FACTOR = 3


def choose_pruner(budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide which trials are stopped early. ``given`` is the user's own choice, by name, and always wins.

    Raises:
        InputError: no pruner of that name, or one that does not take these arguments.
    """
    if given is not None:
        decision = Decision("pruner", given, "it was asked for", {**_resources(given, budget), **arguments})
        build_pruner(decision)
        return decision
    if budget.trials < FEWEST_TRIALS:
        return Decision("pruner", "Nop", f"fewer than {FEWEST_TRIALS} trials leave nothing to compare")
    if budget.checks < FEWEST_CHECKS:
        return Decision("pruner", "Nop", f"fewer than {FEWEST_CHECKS} checks a trial leave nothing to save")
    reason = (
        f"trials that look poor stop after {budget.val_check_steps} of {budget.max_steps} steps or {REDUCTION_FACTOR}, "
        f"{REDUCTION_FACTOR**2}, ... times as many, and brackets that stop later protect slow starters"
    )
    resources = _resources("Hyperband", budget)
    return Decision("pruner", "Hyperband", reason, {**resources, "reduction_factor": REDUCTION_FACTOR})


def build_pruner(decision: Decision) -> optuna.pruners.BasePruner:
    """Build the pruner that a decision names.

    Raises:
        InputError: as `choose_pruner`.
    """
    return build("pruner", _class(decision.choice), decision.arguments)


def _class(name: str) -> type[optuna.pruners.BasePruner]:
    return find_class("pruner", name, optuna.pruners, optuna.pruners.BasePruner)  # type: ignore[type-abstract]


def _resources(name: str, budget: BudgetFacts) -> dict[str, Any]:
    # Left to "auto", they would be guessed anew, and differently, by every process.
    if _class(name) is HyperbandPruner:
        return {"min_resource": budget.val_check_steps, "max_resource": budget.max_steps}
    if _class(name) is SuccessiveHalvingPruner:
        return {"min_resource": budget.val_check_steps}
    return {}
