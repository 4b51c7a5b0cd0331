"""The policy that chooses the pruner: which, when, and why the others are rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)

from castpool.private_api.optuna import startup_trials_of
from castpool.sampler_policies.class_lookup import build, find_class
from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts
from castpool.sampler_policies.legacy_names import with_current_names
from castpool.sampler_policies.pruners.incremental import INCREMENTAL
from castpool.sampler_policies.rules.rule import Rule, choose, no_objection

FEWEST_TRIALS = 4
FEWEST_CHECKS = 3
REDUCTION_FACTOR = 3
CUSTOM_PRUNERS = {"DemotingHalving": "castpool.sampler_policies.pruners.demoting_halving:DemotingHalvingPruner"}
LIMITS = {"time": "time ends", "steps": "training steps end"}
# With fewer trials in a bracket, its best third is one trial: with eight trials on the synthetic problems of
# tests/benchmarks, Hyperband ends 5 % above no pruning and Median 1 %; with sixty both end alike, and Hyperband spends
# fewer steps.
FEWEST_PER_BRACKET = 5
WARM_UP_CHECKS = 2
MEDIAN_STARTUP_TRIALS = 4


def choose_pruner(budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide which trials stop early. ``given`` is the pruner that the user chose, by name or path; it always wins.

    Raises:
        InputError: there is no pruner of that name, or it does not take these arguments.
    """
    if given is None:
        return choose(PRUNERS, budget)
    given = with_current_names({"choice": given})["choice"]
    arguments = _completed(given, with_current_names(arguments), budget)
    pruner = build_pruner(Decision("pruner", given, "", arguments))
    reason = "; ".join(["set by the user", *_cautions(pruner, budget)])
    return Decision("pruner", given, reason, arguments, rule="user's choice")


def build_pruner(decision: Decision) -> BasePruner:
    """Build the pruner that a decision names.

    Raises:
        InputError: as `choose_pruner`.
    """
    return _build(decision.choice, decision.arguments)


def _build(name: str, arguments: Mapping[str, Any]) -> BasePruner:
    arguments = dict(arguments)
    if isinstance(inner := arguments.get("wrapped_pruner"), Mapping):
        arguments["wrapped_pruner"] = _build(*_named(inner))
    cls = _class(name)
    pruner = build("pruner", cls, arguments)  # a refusal then has the name that the user wrote
    return INCREMENTAL[cls](**arguments) if cls in INCREMENTAL else pruner


def _class(name: str) -> type[BasePruner]:
    return find_class("pruner", name, optuna.pruners, BasePruner, CUSTOM_PRUNERS)  # type: ignore[type-abstract]


def _named(inner: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    rest = dict(inner)
    name = rest.pop("name", None)
    if not isinstance(name, str):
        raise InputError("pruner", dict(inner), "write the wrapped pruner's name too, e.g. {name: Median}.")
    return name, rest


def _completed(name: str, arguments: Mapping[str, Any], budget: BudgetFacts) -> dict[str, Any]:
    """Return the arguments with those that Optuna would guess in each process, with different results."""
    cls, full = _class(name), dict(arguments)
    if cls is HyperbandPruner:
        full = {"min_resource": budget.val_check_steps, "max_resource": budget.max_steps, **full}
    if issubclass(cls, SuccessiveHalvingPruner):
        full = {"min_resource": budget.val_check_steps, **full}
    if isinstance(inner := full.get("wrapped_pruner"), Mapping):
        inner_name, rest = _named(inner)
        full["wrapped_pruner"] = {"name": inner_name, **_completed(inner_name, rest, budget)}
    return full


def _cautions(pruner: BasePruner, budget: BudgetFacts) -> list[str]:
    cautions = []
    if budget.n_objectives > 1 and not isinstance(pruner, NopPruner):
        cautions.append(f"Optuna prunes with one objective only, so with {budget.n_objectives} no trial is pruned")
    if isinstance(pruner, WilcoxonPruner):
        cautions.append("it compares validation checks as if they were independent validation windows")
    startup = startup_trials_of(pruner)
    if isinstance(pruner, PercentilePruner) and startup >= budget.trials:
        cautions.append(f"it waits for {startup} complete trials, and the study has {budget.trials}")
    return cautions


def _one_objective(budget: BudgetFacts) -> str | None:
    return "there is one objective" if budget.n_objectives == 1 else None


def _no_pruning_for_several_objectives(budget: BudgetFacts) -> Decision:
    reason = f"pruners compare one objective, and the study has {budget.n_objectives}"
    return Decision("pruner", "Nop", reason)


def _enough_trials(budget: BudgetFacts) -> str | None:
    return f"{budget.trials} trials are enough to compare" if budget.trials >= FEWEST_TRIALS else None


def _no_pruning_of_few_trials(budget: BudgetFacts) -> Decision:
    return Decision("pruner", "Nop", f"fewer than {FEWEST_TRIALS} trials are too few to compare")


def _enough_checks(budget: BudgetFacts) -> str | None:
    return f"{budget.checks} checks per trial leave steps to save" if budget.checks >= FEWEST_CHECKS else None


def _no_pruning_with_few_checks(budget: BudgetFacts) -> Decision:
    return Decision("pruner", "Nop", f"fewer than {FEWEST_CHECKS} checks per trial leave no steps to save")


def _budget_of_trials(budget: BudgetFacts) -> str | None:
    return "the budget is a number of trials" if budget.limit.by == "trials" else None


def _demoting_halving(budget: BudgetFacts) -> Decision:
    first = budget.val_check_steps
    reason = (
        f"{LIMITS[budget.limit.by]} the study, so saved steps allow more trials: the best third of the trials is "
        f"promoted after {first} of {budget.max_steps} steps, and after {REDUCTION_FACTOR}, {REDUCTION_FACTOR**2}, ... "
        "times as many; promoted trials, the default's too, are compared again at every rung, and stopped when their "
        "best loss falls behind the rung's median"
    )
    arguments = {"min_resource": first, "reduction_factor": REDUCTION_FACTOR}
    return Decision("pruner", "DemotingHalving", reason, arguments)


def _brackets(budget: BudgetFacts) -> int:
    """Return the number of brackets that `HyperbandPruner` makes of a trial's checks."""
    return int(math.log(budget.checks, REDUCTION_FACTOR)) + 1


def _enough_per_bracket(budget: BudgetFacts) -> str | None:
    enough = FEWEST_PER_BRACKET * _brackets(budget)
    return f"{budget.trials} trials are enough for Hyperband" if budget.trials >= enough else None


def _median(budget: BudgetFacts) -> Decision:
    brackets, warm_up = _brackets(budget), WARM_UP_CHECKS * budget.val_check_steps
    reason = (
        f"{budget.trials} trials are too few to compare within {brackets} brackets, so each is compared with the "
        f"median of all, after {warm_up} steps, which protects slow starters"
    )
    arguments = {"n_startup_trials": MEDIAN_STARTUP_TRIALS, "n_warmup_steps": warm_up}
    return Decision("pruner", "Median", reason, arguments)


def _hyperband(budget: BudgetFacts) -> Decision:
    reason = (
        f"poor trials stop after {budget.val_check_steps} of {budget.max_steps} steps or {REDUCTION_FACTOR}, "
        f"{REDUCTION_FACTOR**2}, ... times as many; brackets with a later first stop protect slow starters"
    )
    arguments = {**_completed("Hyperband", {}, budget), "reduction_factor": REDUCTION_FACTOR}
    return Decision("pruner", "Hyperband", reason, arguments)


SEVERAL_OBJECTIVES = Rule(
    "none for several objectives", "several objectives", _one_objective, _no_pruning_for_several_objectives
)
FEW_TRIALS = Rule(
    "none for few trials", f"fewer than {FEWEST_TRIALS} trials", _enough_trials, _no_pruning_of_few_trials
)
FEW_CHECKS = Rule(
    "none for few checks", f"fewer than {FEWEST_CHECKS} checks per trial", _enough_checks, _no_pruning_with_few_checks
)
PRUNERS: tuple[Rule[BudgetFacts], ...] = (
    SEVERAL_OBJECTIVES,
    FEW_TRIALS,
    FEW_CHECKS,
    Rule("Demoting successive halving", "budgets of time or training steps", _budget_of_trials, _demoting_halving),
    Rule(
        "Median",
        f"fewer than {FEWEST_PER_BRACKET} trials for each of Hyperband's brackets",
        _enough_per_bracket,
        _median,
    ),
    Rule("Hyperband", "everything else", no_objection, _hyperband),
)
