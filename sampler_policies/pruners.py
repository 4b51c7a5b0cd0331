"""The policy that chooses the pruner: which, when, and what speaks against the others."""

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

from sampler_policies.bounded_pruners import BOUNDED
from sampler_policies.candidates import Candidate, anything, choose
from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts
from sampler_policies.named import build, find_class

FEWEST_TRIALS = 4
FEWEST_CHECKS = 3
REDUCTION_FACTOR = 3
OWN = {"StandingHalving": "sampler_policies.standing_halving:StandingHalvingPruner"}
LIMITS = {"time": "time is", "steps": "training steps are"}
# Of fewer in a bracket, the best third is one: on eight trials of the synthetic problems of tests/benchmarks Hyperband
# ends 5 % above no pruning and Median 1 %; on sixty they end alike, and Hyperband spends fewer steps.
FEWEST_A_BRACKET = 5
WARM_UP_CHECKS = 2
MEDIAN_STARTUP_TRIALS = 4


def choose_pruner(budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide which trials are stopped early. ``given`` is the user's own choice, by name or path, and always wins.

    Raises:
        InputError: no pruner of that name, or one that does not take these arguments.
    """
    if given is None:
        return choose(PRUNERS, budget)
    arguments = _completed(given, arguments, budget)
    pruner = build_pruner(Decision("pruner", given, "", arguments))
    reason = "; ".join(["it was asked for", *_cautions(pruner, budget)])
    return Decision("pruner", given, reason, arguments, rule="asked for")


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
    pruner = build("pruner", cls, arguments)  # by the name that the user wrote, should it be refused
    return BOUNDED[cls](**arguments) if cls in BOUNDED else pruner


def _class(name: str) -> type[BasePruner]:
    return find_class("pruner", name, optuna.pruners, BasePruner, OWN)  # type: ignore[type-abstract]


def _named(inner: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    rest = dict(inner)
    name = rest.pop("name", None)
    if not isinstance(name, str):
        raise InputError("pruner", dict(inner), "write the wrapped pruner's name too, e.g. {name: Median}.")
    return name, rest


def _completed(name: str, arguments: Mapping[str, Any], budget: BudgetFacts) -> dict[str, Any]:
    """Return the arguments with what Optuna would otherwise guess anew, and differently, in every process."""
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
    said = []
    if budget.n_objectives > 1 and not isinstance(pruner, NopPruner):
        said.append(f"Optuna prunes by one objective only, so with {budget.n_objectives} nothing is pruned")
    if isinstance(pruner, WilcoxonPruner):
        said.append("it compares checks as if they were validation windows, one independent of the other")
    startup = getattr(pruner, "_n_startup_trials", 0)
    if isinstance(pruner, PercentilePruner) and startup >= budget.trials:
        said.append(f"it waits for {startup} complete trials, and the study has {budget.trials}")
    return said


def _one_objective(budget: BudgetFacts) -> str | None:
    return "there is one objective" if budget.n_objectives == 1 else None


def _several(budget: BudgetFacts) -> Decision:
    reason = f"with {budget.n_objectives} objectives nobody can say of a trial that it is among the worse ones"
    return Decision("pruner", "Nop", reason)


def _enough_trials(budget: BudgetFacts) -> str | None:
    return f"{budget.trials} trials can be compared" if budget.trials >= FEWEST_TRIALS else None


def _few_trials(budget: BudgetFacts) -> Decision:
    return Decision("pruner", "Nop", f"fewer than {FEWEST_TRIALS} trials leave nothing to compare")


def _enough_checks(budget: BudgetFacts) -> str | None:
    return f"{budget.checks} checks a trial leave steps to save" if budget.checks >= FEWEST_CHECKS else None


def _few_checks(budget: BudgetFacts) -> Decision:
    return Decision("pruner", "Nop", f"fewer than {FEWEST_CHECKS} checks a trial leave nothing to save")


def _counted_trials(budget: BudgetFacts) -> str | None:
    return "its trials are counted" if budget.limit.by == "trials" else None


def _successive_halving(budget: BudgetFacts) -> Decision:
    first = budget.val_check_steps
    reason = (
        f"{LIMITS[budget.limit.by]} what ends the study, so what is saved buys more trials: the best third goes "
        f"on after {first} of {budget.max_steps} steps, and after {REDUCTION_FACTOR}, {REDUCTION_FACTOR**2}, ... times "
        "as many; whoever went on for want of others, the default too, stops where more steps have made it no better "
        "than the better half were"
    )
    arguments = {"min_resource": first, "reduction_factor": REDUCTION_FACTOR}
    return Decision("pruner", "StandingHalving", reason, arguments)


def _brackets(budget: BudgetFacts) -> int:
    """Return how many brackets Hyperband makes of a trial's checks (as `HyperbandPruner` does)."""
    return int(math.log(budget.checks, REDUCTION_FACTOR)) + 1


def _enough_a_bracket(budget: BudgetFacts) -> str | None:
    enough = FEWEST_A_BRACKET * _brackets(budget)
    return f"{budget.trials} trials are enough for Hyperband" if budget.trials >= enough else None


def _median(budget: BudgetFacts) -> Decision:
    brackets, warm_up = _brackets(budget), WARM_UP_CHECKS * budget.val_check_steps
    reason = (
        f"{budget.trials} trials are too few to compare within {brackets} brackets, so each is compared with all, "
        f"after {warm_up} steps, which protects slow starters"
    )
    arguments = {"n_startup_trials": MEDIAN_STARTUP_TRIALS, "n_warmup_steps": warm_up}
    return Decision("pruner", "Median", reason, arguments)


def _hyperband(budget: BudgetFacts) -> Decision:
    reason = (
        f"trials that look poor stop after {budget.val_check_steps} of {budget.max_steps} steps or {REDUCTION_FACTOR}, "
        f"{REDUCTION_FACTOR**2}, ... times as many, and brackets that stop later protect slow starters"
    )
    arguments = {**_completed("Hyperband", {}, budget), "reduction_factor": REDUCTION_FACTOR}
    return Decision("pruner", "Hyperband", reason, arguments)


SEVERAL = Candidate("none for several objectives", "several objectives", _one_objective, _several)
FEW_TRIALS = Candidate("none for few trials", f"fewer than {FEWEST_TRIALS} trials", _enough_trials, _few_trials)
FEW_CHECKS = Candidate("none for few checks", f"fewer than {FEWEST_CHECKS} checks a trial", _enough_checks, _few_checks)
PRUNERS: tuple[Candidate[BudgetFacts], ...] = (
    SEVERAL,
    FEW_TRIALS,
    FEW_CHECKS,
    Candidate("Successive halving", "budgets of time or training steps", _counted_trials, _successive_halving),
    Candidate(
        "Median", f"fewer than {FEWEST_A_BRACKET} trials for each of Hyperband's brackets", _enough_a_bracket, _median
    ),
    Candidate("Hyperband", "everything else", anything, _hyperband),
)
