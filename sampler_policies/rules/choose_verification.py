"""The policies of the evaluation: which finalists are judged again, how often, and what may be averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError

MOST_FINALISTS = 8
MOST_ORIGINS = 2
MOST_MEMBERS = 5
# An average of three is never much worse than the single best, and often better (docs/benchmarks.md).
EQUAL_MEMBERS = 3
# What trials may not spend of a budget.
SHARE = 0.25
# The oldest origin leaves at least this part of the shortest series for training.
SMALLEST_TRAINING_PART = 2
# Building, saving and forecasting, beside the training.
OVERHEAD_SECONDS = 0.7
# Estimates are of trainings that ran beside others; the last evaluations of several workers end at different times.
SAFETY = 0.85


def choose_verification(
    shortest: int, holdout: int, val_size: int, finalists: int | None, smallest_training: int
) -> Decision:
    """Decide how many finalists are judged again after the search, at how many older origins.

    Args:
        shortest: the length of the shortest series.
        holdout: observations of each series that only the verdict uses.
        val_size: observations of each series that validate, and of one origin's windows.
        finalists: the number that the user set, or None.
        smallest_training: observations that a training needs.

    Returns:
        A decision with the arguments ``finalists`` and ``origins``; both are 0 where there is no verification.

    Raises:
        InputError: a number of finalists below 0, or one for which the series are too short.
    """
    if finalists is not None and finalists < 0:
        raise InputError("finalists", finalists, "write a number of at least 1, or 0 for no verification.")
    if finalists == 0:
        return Decision("verification", "none", "set by the user", {"finalists": 0, "origins": 0})
    left = shortest - holdout - val_size
    enough = max(shortest // SMALLEST_TRAINING_PART, smallest_training)
    origins = max(0, min(MOST_ORIGINS, (left - enough) // val_size))
    if origins == 0:
        short = f"the shortest series, {shortest} observations, leaves no older windows beside training and validation"
        if finalists is not None:
            raise InputError("finalists", finalists, f"{short}: write 0, or leave the shortest series out.")
        return Decision("verification", "none", short, {"finalists": 0, "origins": 0})
    most = finalists or MOST_FINALISTS
    at = f"{origins} older origins" if origins > 1 else "an older origin"
    reason = (
        "the best configurations are trained again with other seeds and forecast older windows that the search did "
        "not use: its lowest loss may be luck; as many as time allows"
    )
    choice = f"up to {most} finalists at {at}"
    return Decision("verification", choice, reason, {"finalists": most, "origins": origins})


def choose_ensemble(given: int | str | None) -> Decision:
    """Decide how many models the result may average.

    Args:
        given: a number of members or ``none``, as the user set it, or None.

    Returns:
        A decision with the argument ``members``: the largest number of members.

    Raises:
        InputError: a number below 1.
    """
    if given is None:
        reason = "an average of a few good models is mostly better than the single best, and seldom worse"
        return Decision("ensemble", f"up to {MOST_MEMBERS} members", reason, {"members": MOST_MEMBERS})
    if given == "none" or given == 1:
        return Decision("ensemble", "none", "set by the user", {"members": 1})
    if isinstance(given, str) or given < 1:
        raise InputError("ensemble", given, "write a number of members of at least 1, or none.")
    return Decision("ensemble", f"up to {given} members", "set by the user", {"members": given})


@dataclass(frozen=True)
class EvaluationFacts:
    """What is known at the end of a search.

    Attributes:
        seconds: the cost of training each finalist, best first; the default configuration apart.
        default_seconds: that of the default configuration; None where it is not judged.
        capacity_seconds: worker seconds that the evaluation may take.
        most_origins: older origins for which the series are long enough.
        has_holdout: whether there is a holdout.
        n_workers: workers that share the evaluations; one training takes a single one. None where no budget ends them:
            the holdout is then judged whatever it takes.
        holdout_trainings: trainings of a model before it forecasts the holdout.
    """

    seconds: Sequence[float]
    default_seconds: float | None
    capacity_seconds: float
    most_origins: int
    has_holdout: bool
    n_workers: float | None = 1.0
    holdout_trainings: int = 1


def plan_evaluation(facts: EvaluationFacts) -> Decision:
    """Decide how many finalists are judged at how many origins, so that the holdout fits into the capacity too.

    Returns:
        A decision with the arguments ``finalists``, ``origins``, ``default`` and ``verifies_default``: whether the
        default configuration is judged on the holdout, and at the older origins too; and ``members``: how many models
        the holdout can judge. With 0 finalists the validation losses alone decide.
    """
    costs = [seconds + OVERHEAD_SECONDS for seconds in facts.seconds]
    held_out = [facts.holdout_trainings * seconds + OVERHEAD_SECONDS for seconds in facts.seconds]
    capacity = SAFETY * facts.capacity_seconds
    # One training does not get faster by more workers: none may take longer than all of them have.
    longest = math.inf if facts.n_workers is None else capacity / facts.n_workers
    limit = math.inf if facts.n_workers is None else capacity
    members = _most_judged(held_out, limit, longest) if facts.has_holdout else 0
    left, judges_default = capacity, False
    if members:
        left -= max(sum(held_out[:members]), EQUAL_MEMBERS * sum(held_out) / len(held_out))
    if facts.default_seconds is not None and members:
        default = facts.holdout_trainings * facts.default_seconds + OVERHEAD_SECONDS
        # Without a budget the verdict always has the default configuration: one of the search's trials, once more.
        judges_default = facts.n_workers is None or default <= min(longest, max(left, capacity / 2))
        left -= default * judges_default
    finalists, origins = _most_that_fit(costs, left, longest, facts.most_origins)
    left -= origins * sum(costs[:finalists])
    verifies_default = (
        facts.default_seconds is not None
        and finalists > 0
        and origins * (facts.default_seconds + OVERHEAD_SECONDS) <= left
        and facts.default_seconds + OVERHEAD_SECONDS <= longest
    )
    arguments = {
        "finalists": finalists,
        "origins": origins,
        "default": judges_default,
        "verifies_default": verifies_default,
        "members": members,
    }
    worth = f"{facts.capacity_seconds:.0f} worker seconds"
    if facts.has_holdout and not members:
        reason = f"{worth} are too few to train the best configuration again: {facts.seconds[0]:.0f} s"
        return Decision("finalists", "none", reason, arguments)
    if finalists == 0:
        why = "the series are too short" if facts.most_origins == 0 else f"{worth} are too few"
        return Decision("finalists", "none", f"{why} to judge {EQUAL_MEMBERS} of them again", arguments)
    reason = f"{worth} are enough for {finalists * origins} trainings beside the holdout"
    if facts.default_seconds is not None and facts.has_holdout and not judges_default:
        reason += f"; the default configuration is left out: it trains for {facts.default_seconds:.0f} s"
    times = f" at {origins} origins" if origins > 1 else ""
    return Decision("finalists", f"{finalists}{times}", reason, arguments)


def _most_judged(costs: Sequence[float], capacity: float, longest: float) -> int:
    """Return how many of the best the holdout can judge: the first ones, up to the members of an equal average."""
    fitting = 0
    for number, cost in enumerate(costs[:EQUAL_MEMBERS], 1):
        if cost > longest or sum(costs[:number]) > capacity:
            break
        fitting = number
    return fitting


def _most_that_fit(costs: Sequence[float], left: float, longest: float, most_origins: int) -> tuple[int, int]:
    """Return how many finalists fit at how many origins: all of them first, then more origins."""
    fitting = next((number for number, cost in enumerate(costs) if cost > longest), len(costs))
    for origins in range(most_origins, 0, -1):
        if fitting == len(costs) and origins * sum(costs) <= left:
            return len(costs), origins
    if most_origins:
        for finalists in range(fitting, EQUAL_MEMBERS - 1, -1):
            if sum(costs[:finalists]) <= left:
                return finalists, 1
    return 0, 0
