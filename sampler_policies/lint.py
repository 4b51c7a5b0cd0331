"""What looks wrong with a search space that works: one sentence each, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.distributions import FloatDistribution

from sampler_policies.parameter import Parameter
from sampler_policies.space import Space

# A model of the objective needs about five trials a dimension before it beats chance.
MOST_DIMENSIONS = 12
TRIALS_A_DIMENSION = 5
# Between a factor of ten, a linear scale puts nine of ten samples into the upper decade.
WIDE = 10.0
RATES = ("learning_rate", "lr", "weight_decay", "eps")

Check = Callable[[Space, Mapping[str, Any], int], Iterator[str]]


def lint(space: Space, asked: Mapping[str, Any], trials: int) -> list[str]:
    """Return what a user should know of the space before spending the budget on it.

    Args:
        space: what the trials will search.
        asked: the user's own part of it, as written.
        trials: the budget.
    """
    return [warning for check in CHECKS for warning in check(space, asked, trials)]


def _rates_are_searched_in_orders_of_magnitude(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for own in space.parameters:
        d = own.distribution
        if not isinstance(d, FloatDistribution) or d.log or d.low < 0:
            continue
        is_rate = any(own.name.endswith(rate) for rate in RATES)
        if is_rate and (d.low == 0 or d.high / d.low >= WIDE):
            low = d.low or d.high / 1000
            yield (
                f"{own.name} is searched evenly from {d.low:g} to {d.high:g}, so nearly all samples are large: "
                f"write {{low: {low:g}, high: {d.high:g}, log: true}}"
            )


def _ranges_hold_more_than_one_value(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for name, written in asked.items():
        if name not in space and isinstance(written, list | Mapping) and "value" not in written:
            yield f"{name} has one value, {space.constants.get(name)!r}: there is nothing to search"


def _dimensions_fit_the_budget(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    count = len(space.parameters)
    if count > MOST_DIMENSIONS and trials < TRIALS_A_DIMENSION * count:
        yield (
            f"{count} parameters are many for {trials} trials: fix some, or write at least "
            f"{TRIALS_A_DIMENSION * count} trials"
        )


def _seeds_are_not_searched(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for own in space.parameters:
        if own.name == "seed" or own.name.endswith("random_seed"):
            yield f"{own.name} is searched, which selects luck: fix it, and judge the winner on other seeds"


def _orders_are_told(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for own in space.parameters:
        if own.is_ordered or len(own.values) < 3:
            continue
        if (numbers := _as_numbers(own)) is not None:
            yield (
                f"{own.name} offers numbers as text, so no sampler sees their order: "
                f"write {sorted(numbers)} without quotes"
            )
        elif all(isinstance(value, list) and len(value) == 1 for value in own.values):
            yield f"{own.name} offers lists of one number each, so no sampler sees their order"


def _as_numbers(own: Parameter) -> list[float] | None:
    if not all(isinstance(value, str) for value in own.values):
        return None
    try:
        return [float(value) for value in own.values]
    except ValueError:
        return None


def _budget_is_no_larger_than_the_space(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    points = space.facts.n_points
    if points is not None and points < trials:
        yield f"the space has {points} points, so {trials - points} of {trials} trials repeat one: write fewer trials"


CHECKS: tuple[Check, ...] = (
    _rates_are_searched_in_orders_of_magnitude,
    _ranges_hold_more_than_one_value,
    _dimensions_fit_the_budget,
    _seeds_are_not_searched,
    _orders_are_told,
    _budget_is_no_larger_than_the_space,
)
