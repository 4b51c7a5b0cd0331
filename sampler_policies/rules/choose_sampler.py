"""The policy that chooses the sampler: which, when, and why the others are rejected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.facts import BudgetFacts, SamplerFacts, SpaceFacts
from castpool.sampler_policies.legacy_names import with_current_names
from castpool.sampler_policies.rules.rule import Rule, choose, no_objection
from castpool.sampler_policies.samplers.build import build_sampler, cautions

# With fewer trials, all are initial ones: there is too little to fit a model of the objective to.
FEWEST_TO_LEARN_FROM = 6
FEW_POINTS = 20
# A Gaussian process fits a length scale to each dimension, which takes trials.
MOST_DIMENSIONS = 20
# By then the process has found its region, and its fits only become slower.
MOST_GP_TRIALS = 300
FEWEST_CMAES_TRIALS = 800
# Several generations.
FEWEST_NSGA_TRIALS = 500
POPULATION = 50


def choose_sampler(space: SpaceFacts, budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide how parameters are sampled. ``given`` is the sampler that the user chose, by name or path; it always wins.

    Raises:
        InputError: there is no sampler of that name, or it does not take these arguments.
    """
    if given is None:
        return choose(SAMPLERS, SamplerFacts(space, budget))
    current = with_current_names({"choice": given, "arguments": arguments})
    decision = Decision("sampler", reason="set by the user", rule="user's choice", **current)
    warnings = cautions(build_sampler(decision, seed=0), space, budget)
    return replace(decision, reason="; ".join([decision.reason, *warnings]))


def _one_objective(facts: SamplerFacts) -> str | None:
    return "there is one objective" if facts.budget.n_objectives == 1 else None


def not_exhaustive(facts: SamplerFacts) -> str | None:
    """Return why trying every point of the space is rejected; None where the budget is enough."""
    points, trials = facts.space.n_points, facts.budget.trials
    if facts.space.branches:
        return "the number of points of a branching space is unknown"
    if points is None:
        return "a continuous parameter has infinitely many points"
    if facts.budget.limit.by != "trials" and points > FEW_POINTS:
        return f"the budget of {facts.budget.limit.by} may end before all {points} points are tried"
    return None if points <= trials else f"{points} points are more than {trials} trials"


def _exhaustive(facts: SamplerFacts) -> Decision:
    reason = f"{facts.budget.trials} trials are enough to try each of the {facts.space.n_points} points"
    return Decision("sampler", "Exhaustive", reason)


def _not_nsga(facts: SamplerFacts) -> str | None:
    if (objection := _one_objective(facts)) is not None:
        return objection
    trials = facts.budget.trials
    return None if trials >= FEWEST_NSGA_TRIALS else f"{trials} trials are too few for generations of {POPULATION}"


def _nsga(facts: SamplerFacts) -> Decision:
    objectives = facts.budget.n_objectives
    name = "NSGAII" if objectives <= 3 else "NSGAIII"
    reason = (
        f"{facts.budget.trials} trials are {facts.budget.trials // POPULATION} generations, which spread over the "
        f"Pareto front of {objectives} objectives"
    )
    return Decision("sampler", name, reason, {"population_size": POPULATION})


def _tpe_for_several(facts: SamplerFacts) -> Decision:
    reason = f"it ranks trials by the Pareto front of {facts.budget.n_objectives} objectives and needs few trials"
    return _tpe(facts, reason, group=facts.space.branches)


def _not_branching(facts: SamplerFacts) -> str | None:
    return None if facts.space.branches else "every trial has the same parameters"


def _tpe_in_groups(facts: SamplerFacts) -> Decision:
    is_function = facts.space.is_function
    space = "the space is a function and may branch" if is_function else "some parameters exist only in some trials"
    reason = f"{space}; TPE models the parameters of each branch as a group"
    return _tpe(facts, reason, group=True)


def _enough_to_learn_from(facts: SamplerFacts) -> str | None:
    trials = facts.budget.trials
    return f"{trials} trials are enough to learn from" if trials >= FEWEST_TO_LEARN_FROM else None


def _space_filling(facts: SamplerFacts) -> Decision:
    reason = (
        f"{facts.budget.trials} trials are too few to fit a model; quasi-random (space-filling) points cover the space"
    )
    return Decision("sampler", "QMC", reason)


def _not_for_gp(facts: SamplerFacts) -> str | None:
    space = facts.space
    if space.branches:
        return "a Gaussian process needs the same parameters in every trial"
    if space.n_parameters > MOST_DIMENSIONS:
        return f"{space.n_parameters} dimensions are too many for a Gaussian process"
    if 2 * space.n_unordered > space.n_parameters:
        return f"{space.n_unordered} of {space.n_parameters} parameters have no order for a Gaussian process"
    return None


def _gp_to_the_end(facts: SamplerFacts) -> str | None:
    trials = facts.budget.trials
    return _not_for_gp(facts) or (
        f"{trials} trials are too many to fit a Gaussian process to" if trials > MOST_GP_TRIALS else None
    )


def _gp(facts: SamplerFacts) -> Decision:
    phases = [_start(facts), _curve_gp(facts)]
    return Decision("sampler", "Phased", _gp_reason(facts), {"phases": phases})


def _start(facts: SamplerFacts) -> dict[str, Any]:
    """Return the quasi-random phase; with a time budget, within sizes that are at most the model's defaults.

    To begin where training is cheap and to grow from there is FLAML's idea (Wu et al., arXiv:2005.01571).
    """
    sizes = facts.space.usual_sizes if facts.budget.is_cost_aware else {}
    return {
        "sampler": "IndexedQMC",
        **({"arguments": {"highest": dict(sizes)}} if sizes else {}),
        "until": facts.startup,
    }


def _curve_gp(facts: SamplerFacts) -> dict[str, Any]:
    arguments = {"arguments": {"is_cost_aware": True}} if facts.budget.is_cost_aware else {}
    return {"sampler": "CurveGP", **arguments}


def _gp_reason(facts: SamplerFacts) -> str:
    ordered = facts.space.n_parameters - facts.space.n_unordered
    reason = (
        f"{ordered} of {facts.space.n_parameters} parameters are ordered, and a Gaussian process uses order: it needs "
        "the fewest trials; it also learns from pruned trials, by learning-curve extrapolation; "
        f"the first {facts.startup} trials are quasi-random (space-filling)"
    )
    if facts.budget.is_cost_aware:
        if facts.space.usual_sizes:
            reason += ", with sizes of at most the model's defaults"
        reason += "; time ends the study, so the acquisition is cost-aware: expected improvement per second"
    return reason + _parallel_reason(facts, "running trials are part of its model, which keeps")


def _gp_then_cmaes(facts: SamplerFacts) -> Decision:
    phases = [
        _start(facts),
        {**_curve_gp(facts), "until": MOST_GP_TRIALS},
        {"sampler": "CmaEs", "arguments": {"consider_pruned_trials": True, "with_margin": True}},
    ]
    reason = f"{_gp_reason(facts)}; after {MOST_GP_TRIALS} trials CMA-ES refines the result and needs no slow fits"
    return Decision("sampler", "Phased", reason, {"phases": phases})


def _not_for_cmaes(facts: SamplerFacts) -> str | None:
    if (objection := _not_for_gp(facts)) is not None:
        return objection
    if facts.space.n_unordered:
        return f"CMA-ES would draw {facts.space.n_unordered} unordered parameters at random"
    trials = facts.budget.trials
    return None if trials >= FEWEST_CMAES_TRIALS else f"{trials} trials leave CMA-ES too few generations"


def _gp_then_tpe(facts: SamplerFacts) -> Decision:
    phases = [
        _start(facts),
        {**_curve_gp(facts), "until": MOST_GP_TRIALS},
        {"sampler": "TPE", "arguments": {"multivariate": True, "constant_liar": True, "n_startup_trials": 1}},
    ]
    reason = f"{_gp_reason(facts)}; after {MOST_GP_TRIALS} trials TPE continues from all of them and needs no slow fits"
    return Decision("sampler", "Phased", reason, {"phases": phases})


def _tpe_alone(facts: SamplerFacts) -> Decision:
    return _tpe(facts, f"it supports unordered choices and models the {facts.space.n_parameters} parameters jointly")


def _tpe(facts: SamplerFacts, reason: str, *, group: bool = False) -> Decision:
    arguments: dict[str, Any] = {"multivariate": True, "constant_liar": True, "n_startup_trials": facts.startup}
    if group:
        arguments["group"] = True
    return Decision("sampler", "TPE", reason + _parallel_reason(facts, "constant_liar keeps"), arguments)


def _parallel_reason(facts: SamplerFacts, keeps: str) -> str:
    workers = facts.budget.workers
    return f"; {keeps} {workers} workers from trying the same point" if workers > 1 else ""


SAMPLERS: tuple[Rule[SamplerFacts], ...] = (
    Rule("every point", "no more points in the space than trials", not_exhaustive, _exhaustive),
    Rule("generations", f"several objectives and {FEWEST_NSGA_TRIALS} trials or more", _not_nsga, _nsga),
    Rule("TPE for several objectives", "several objectives", _one_objective, _tpe_for_several),
    Rule("space filling", f"fewer than {FEWEST_TO_LEARN_FROM} trials", _enough_to_learn_from, _space_filling),
    Rule("TPE in groups", "the space is a function of the trial, or branches", _not_branching, _tpe_in_groups),
    Rule("GP", f"at least half of the parameters ordered, up to {MOST_GP_TRIALS} trials", _gp_to_the_end, _gp),
    Rule(
        "GP, then CMA-ES",
        f"all parameters ordered, {FEWEST_CMAES_TRIALS} trials or more",
        _not_for_cmaes,
        _gp_then_cmaes,
    ),
    Rule(
        "GP, then TPE",
        f"at least half of the parameters ordered, more than {MOST_GP_TRIALS} trials",
        _not_for_gp,
        _gp_then_tpe,
    ),
    Rule("TPE", "everything else", no_objection, _tpe_alone),
)
