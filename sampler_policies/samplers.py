"""The policy that chooses the sampler: which, when, and what speaks against the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampler_policies.candidates import Candidate, anything, choose
from sampler_policies.decision import Decision
from sampler_policies.facts import BudgetFacts, SpaceFacts
from sampler_policies.sampler_builder import build_sampler, cautions

# Below, every trial is a start: a model of the objective would be fitted to next to nothing.
FEWEST_TO_LEARN_FROM = 6
FEWEST_STARTUP_TRIALS, MOST_STARTUP_TRIALS = 4, 10
# By steps, ten are 1 % worse than five at the end (two recorded tables, four synthetic problems, 5 repeats).
STARTUP_WITHOUT_A_COUNT = 5
TINY = 20
# A Gaussian process tells dimensions apart by a length scale each, which takes trials to find.
MOST_DIMENSIONS = 20
# Here the process has found its region, and its fits only cost more.
MOST_GP_TRIALS = 300
FEWEST_CMAES_TRIALS = 800
# A generation's worth of parents, several times over.
FEWEST_NSGA_TRIALS = 500
POPULATION = 50


@dataclass(frozen=True)
class SamplerFacts:
    """What the sampler policy looks at."""

    space: SpaceFacts
    budget: BudgetFacts

    @property
    def startup(self) -> int:
        """How many trials fill the space before a model takes over."""
        if self.budget.limit.by != "trials":
            return STARTUP_WITHOUT_A_COUNT  # nobody knows how many trials there will be
        return min(max(self.budget.trials // 5, FEWEST_STARTUP_TRIALS), MOST_STARTUP_TRIALS)


def choose_sampler(space: SpaceFacts, budget: BudgetFacts, given: str | None, arguments: dict[str, Any]) -> Decision:
    """Decide how parameters are sampled. ``given`` is the user's own choice, by name or path, and always wins.

    Raises:
        InputError: no sampler of that name, or one that does not take these arguments.
    """
    if given is None:
        return choose(SAMPLERS, SamplerFacts(space, budget))
    decision = Decision("sampler", given, "it was asked for", arguments, rule="asked for")
    sampler = build_sampler(decision, seed=0)
    reason = "; ".join(["it was asked for", *cautions(sampler, space, budget)])
    return Decision("sampler", given, reason, arguments, rule="asked for")


def _objective(facts: SamplerFacts) -> str | None:
    return "there is one objective" if facts.budget.n_objectives == 1 else None


def not_exhaustive(facts: SamplerFacts) -> str | None:
    """Return what speaks against trying every point of the space."""
    points, trials = facts.space.n_points, facts.budget.trials
    if facts.space.branches:
        return "nobody has counted the points of a space that branches"
    if points is None:
        return "a continuous parameter has no end of points"
    if facts.budget.limit.by != "trials" and points > TINY:
        return f"{facts.budget.limit.by} may end before {points} points are tried"
    return None if points <= trials else f"{points} points are more than {trials} trials"


def _exhaustive(facts: SamplerFacts) -> Decision:
    reason = f"{facts.budget.trials} trials are enough for every one of the {facts.space.n_points} points"
    return Decision("sampler", "Exhaustive", reason)


def _not_nsga(facts: SamplerFacts) -> str | None:
    if (objection := _objective(facts)) is not None:
        return objection
    trials = facts.budget.trials
    return None if trials >= FEWEST_NSGA_TRIALS else f"{trials} trials are too few for generations of {POPULATION}"


def _nsga(facts: SamplerFacts) -> Decision:
    objectives = facts.budget.n_objectives
    name = "NSGAII" if objectives <= 3 else "NSGAIII"
    reason = (
        f"{facts.budget.trials} trials are {facts.budget.trials // POPULATION} generations, which spread over the "
        f"front of {objectives} objectives"
    )
    return Decision("sampler", name, reason, {"population_size": POPULATION})


def _tpe_for_several(facts: SamplerFacts) -> Decision:
    reason = f"it ranks trials by the front of {facts.budget.n_objectives} objectives, and needs few of them"
    return _tpe(facts, reason, group=facts.space.branches)


def _not_branching(facts: SamplerFacts) -> str | None:
    return None if facts.space.branches else "every trial has the same parameters"


def _tpe_in_groups(facts: SamplerFacts) -> Decision:
    what = (
        "the space is a function, which may branch"
        if facts.space.is_function
        else "only some trials have some parameters"
    )
    reason = f"{what}, and TPE models each branch's parameters as a group"
    return _tpe(facts, reason, group=True)


def _enough_to_learn_from(facts: SamplerFacts) -> str | None:
    trials = facts.budget.trials
    return f"{trials} trials are enough to learn from" if trials >= FEWEST_TO_LEARN_FROM else None


def _space_filling(facts: SamplerFacts) -> Decision:
    return Decision("sampler", "QMC", f"{facts.budget.trials} trials cover the space best when spread evenly")


def _not_for_gp(facts: SamplerFacts) -> str | None:
    space = facts.space
    if space.branches:
        return "a Gaussian process needs the same parameters in every trial"
    if space.n_parameters > MOST_DIMENSIONS:
        return f"{space.n_parameters} dimensions are more than a Gaussian process tells apart"
    if 2 * space.n_unordered > space.n_parameters:
        return f"{space.n_unordered} of {space.n_parameters} parameters have no order that it could use"
    return None


def _gp_to_the_end(facts: SamplerFacts) -> str | None:
    trials = facts.budget.trials
    return _not_for_gp(facts) or (f"{trials} trials are too many to fit" if trials > MOST_GP_TRIALS else None)


def _gp(facts: SamplerFacts) -> Decision:
    phases = [_start(facts), _curve_gp(facts)]
    return Decision("sampler", "Phased", _gp_reason(facts), {"phases": phases})


def _start(facts: SamplerFacts) -> dict[str, Any]:
    """Return the phase that fills the space; where time counts, the part that is no dearer to train than the defaults.

    A search that begins where training is cheap and grows from there is FLAML's (Wu et al., arXiv:2005.01571).
    """
    sizes = facts.space.usual_sizes if facts.budget.weighs_time else {}
    return {
        "sampler": "NumberedQMC",
        **({"arguments": {"highest": dict(sizes)}} if sizes else {}),
        "until": facts.startup,
    }


def _curve_gp(facts: SamplerFacts) -> dict[str, Any]:
    arguments = {"arguments": {"weighs_time": True}} if facts.budget.weighs_time else {}
    return {"sampler": "CurveGP", **arguments}


def _gp_reason(facts: SamplerFacts) -> str:
    ordered = facts.space.n_parameters - facts.space.n_unordered
    reason = (
        f"{ordered} of {facts.space.n_parameters} parameters are ordered, and a Gaussian process, which uses that, "
        "needs the fewest trials; it learns from pruned ones too; points spread evenly give it a start"
    )
    if facts.budget.weighs_time:
        reason += "; time is what ends the study, so it weighs what a point promises by the seconds of a training step"
        if facts.space.usual_sizes:
            reason += ", and the start lies where sizes are at most the model's defaults"
    return reason + _workers(facts, "trials that still run are part of its model, which keeps")


def _gp_then_cmaes(facts: SamplerFacts) -> Decision:
    phases = [
        _start(facts),
        {**_curve_gp(facts), "until": MOST_GP_TRIALS},
        {"sampler": "CmaEs", "arguments": {"consider_pruned_trials": True, "with_margin": True}},
    ]
    reason = f"{_gp_reason(facts)}; after {MOST_GP_TRIALS} trials CMA-ES refines what it found, at no cost a trial"
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
    reason = f"{_gp_reason(facts)}; after {MOST_GP_TRIALS} trials TPE goes on from all of them, at no cost a trial"
    return Decision("sampler", "Phased", reason, {"phases": phases})


def _tpe_alone(facts: SamplerFacts) -> Decision:
    return _tpe(facts, f"it takes categories as they are and models the {facts.space.n_parameters} parameters together")


def _tpe(facts: SamplerFacts, reason: str, *, group: bool = False) -> Decision:
    arguments: dict[str, Any] = {"multivariate": True, "constant_liar": True, "n_startup_trials": facts.startup}
    if group:
        arguments["group"] = True
    return Decision("sampler", "TPE", reason + _workers(facts, "constant_liar keeps"), arguments)


def _workers(facts: SamplerFacts, keeps: str) -> str:
    workers = facts.budget.workers
    return f"; {keeps} {workers} workers from trying the same point" if workers > 1 else ""


SAMPLERS: tuple[Candidate[SamplerFacts], ...] = (
    Candidate("every point", "the space has no more points than the study has trials", not_exhaustive, _exhaustive),
    Candidate("generations", f"several objectives and {FEWEST_NSGA_TRIALS} trials or more", _not_nsga, _nsga),
    Candidate("TPE for several objectives", "several objectives", _objective, _tpe_for_several),
    Candidate("space filling", f"fewer than {FEWEST_TO_LEARN_FROM} trials", _enough_to_learn_from, _space_filling),
    Candidate("TPE in groups", "the space is a function of the trial, or branches", _not_branching, _tpe_in_groups),
    Candidate("GP", f"half of the parameters ordered, up to {MOST_GP_TRIALS} trials", _gp_to_the_end, _gp),
    Candidate("GP, then CMA-ES", f"all ordered, {FEWEST_CMAES_TRIALS} trials or more", _not_for_cmaes, _gp_then_cmaes),
    Candidate("GP, then TPE", f"half ordered, more than {MOST_GP_TRIALS} trials", _not_for_gp, _gp_then_tpe),
    Candidate("TPE", "everything else", anything, _tpe_alone),
)
