"""The policies of the Ray back-end: which searcher suggests trials, and which scheduler stops them."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from sampler_policies.candidates import Candidate, anything, choose
from sampler_policies.decision import Decision
from sampler_policies.domains import to_ray
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts
from sampler_policies.named import build, find_class
from sampler_policies.pruners import FEW_CHECKS, FEW_TRIALS, REDUCTION_FACTOR, SEVERAL
from sampler_policies.samplers import SamplerFacts, not_exhaustive
from sampler_policies.space import Space

# Searchers that are the study's own sampler, asked through Ray (`workers.ray_search`).
STUDY_SEARCHERS = ("OptunaSearch", "BasicVariant")
SEARCHERS = {"HyperOpt": "ray.tune.search.hyperopt:HyperOptSearch"}
NEEDED_PACKAGES = {"HyperOptSearch": "hyperopt"}
SCHEDULERS = {
    "ASHA": "ray.tune.schedulers:ASHAScheduler",
    "HyperBand": "ray.tune.schedulers:HyperBandScheduler",
    "MedianStopping": "ray.tune.schedulers:MedianStoppingRule",
    "PBT": "ray.tune.schedulers:PopulationBasedTraining",
    "FIFO": "ray.tune.schedulers:FIFOScheduler",
}
GRACE_SHARE = 9


def choose_searcher(facts: SamplerFacts, given: str | None, arguments: Mapping[str, Any]) -> Decision:
    """Decide who suggests trials to Ray. ``given`` is the user's own choice, by name or path, and always wins.

    Raises:
        InputError: no searcher of that name, one whose package is missing, or one for spaces that do not branch.
    """
    if given is None:
        return choose(RAY_SEARCHERS, facts)
    if (own := _study_searcher(given)) is not None:
        if arguments:
            raise InputError("searcher", dict(arguments), f"{own} asks the study's sampler: write --sampler instead.")
        return Decision("searcher", own, "it was asked for", rule="asked for")
    if facts.space.branches:
        raise InputError("searcher", repr(given), "the space branches, which OptunaSearch alone knows: leave it out.")
    _searcher_class(given)
    return Decision("searcher", given, "it was asked for", dict(arguments), rule="asked for")


def choose_scheduler(budget: BudgetFacts, given: str | None, arguments: Mapping[str, Any]) -> Decision:
    """Decide who stops Ray's trials early. ``given`` is the user's own choice, by name or path, and always wins.

    Raises:
        InputError: no scheduler of that name.
    """
    if given is None:
        return choose(RAY_SCHEDULERS, budget)
    reason, completed = "it was asked for", dict(arguments)
    if _is(given, "ASHA"):
        completed = {**_asha_arguments(budget), **completed}
    elif _is(given, "HyperBand"):
        completed = {"max_t": budget.checks, **completed}
    elif _is(given, "PBT"):
        reason += "; neuralforecast's Ray trials keep no checkpoints, so no trial can take over another's weights"
    return Decision("scheduler", given, reason, completed, rule="asked for")


def build_searcher(decision: Decision, space: Space, seed: int) -> Any:
    """Build the searcher that a decision names; None where the study's own sampler is asked.

    Raises:
        InputError: as `choose_searcher`, or one that does not take these arguments.
    """
    if decision.choice in STUDY_SEARCHERS:
        return None
    cls = _searcher_class(decision.choice)
    arguments = dict(decision.arguments)
    if cls.__name__ == "HyperOptSearch":
        arguments.setdefault("random_state_seed", seed % 2**32)
    searcher = build("searcher", cls, arguments)
    domains = {own.name: domain for own in space.parameters if (domain := to_ray(own)) is not None}
    searcher.set_search_properties("loss", "min", domains)
    return searcher


def build_scheduler(decision: Decision, space: Space | None) -> Any:
    """Build the scheduler that a decision names.

    Raises:
        InputError: no such scheduler, or one that does not take these arguments.
    """
    from ray.tune import schedulers

    cls = find_class("scheduler", decision.choice, schedulers, schedulers.TrialScheduler, SCHEDULERS)
    arguments = dict(decision.arguments)
    if cls.__name__ == "PopulationBasedTraining" and space is not None:
        domains = {own.name: domain for own in space.parameters if (domain := to_ray(own)) is not None}
        arguments.setdefault("hyperparam_mutations", domains)
    return build("scheduler", cls, arguments)


def _study_searcher(written: str) -> str | None:
    lowered = written.lower()
    return next((own for own in STUDY_SEARCHERS if lowered in (own.lower(), own.lower().removesuffix("search"))), None)


def _is(written: str, name: str) -> bool:
    return written.lower() in (name.lower(), SCHEDULERS[name].partition(":")[2].lower())


def _searcher_class(written: str) -> type[Any]:
    search = importlib.import_module("ray.tune.search")
    cls: type[Any] = find_class("searcher", written, search, search.Searcher, SEARCHERS)
    package = NEEDED_PACKAGES.get(cls.__name__)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError("searcher", repr(written), f"it needs a package: pip install {package}.")
    return cls


def _basic(facts: SamplerFacts) -> Decision:
    reason = f"{facts.budget.trials} trials are enough for every one of the {facts.space.n_points} points, each once"
    return Decision("searcher", "BasicVariant", reason)


def _optuna(facts: SamplerFacts) -> Decision:
    reason = "the sampler above suggests, on the stored study, so that a run that is taken up again has lost nothing"
    return Decision("searcher", "OptunaSearch", reason)


def _fifo(reason: str) -> Decision:
    return Decision("scheduler", "FIFO", reason)


def _asha_arguments(budget: BudgetFacts) -> dict[str, Any]:
    grace = max(1, math.ceil(budget.checks / GRACE_SHARE))
    return {"max_t": max(budget.checks, grace), "grace_period": grace, "reduction_factor": REDUCTION_FACTOR}


def _asha(budget: BudgetFacts) -> Decision:
    arguments = _asha_arguments(budget)
    grace = arguments["grace_period"]
    reason = (
        f"a trial gets {grace} of {budget.checks} checks before it can be stopped, and a third of the trials goes on "
        f"after {grace}, {grace * REDUCTION_FACTOR}, ... of them, without one waiting for another"
    )
    return Decision("scheduler", "ASHA", reason, arguments)


RAY_SEARCHERS: tuple[Candidate[SamplerFacts], ...] = (
    Candidate("every point once", "no more points than trials", not_exhaustive, _basic),
    Candidate("the study's sampler", "everything else", anything, _optuna),
)
RAY_SCHEDULERS: tuple[Candidate[BudgetFacts], ...] = (
    Candidate(SEVERAL.rule, SEVERAL.when, SEVERAL.objection, lambda budget: _fifo(SEVERAL.decide(budget).reason)),
    Candidate(
        FEW_TRIALS.rule, FEW_TRIALS.when, FEW_TRIALS.objection, lambda budget: _fifo(FEW_TRIALS.decide(budget).reason)
    ),
    Candidate(
        FEW_CHECKS.rule, FEW_CHECKS.when, FEW_CHECKS.objection, lambda budget: _fifo(FEW_CHECKS.decide(budget).reason)
    ),
    Candidate("ASHA", "everything else", anything, _asha),
)
