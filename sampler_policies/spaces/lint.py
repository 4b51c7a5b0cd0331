"""Warnings of likely mistakes in a valid search space, one sentence each; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.distributions import FloatDistribution

from castpool.sampler_policies.spaces.parameter import Parameter
from castpool.sampler_policies.spaces.space import Space

# A model of the objective needs about five trials per dimension before it beats random search.
MOST_DIMENSIONS = 12
TRIALS_PER_DIMENSION = 5
# In a range over a factor of ten or more, a linear scale puts nine of ten samples into the upper decade.
WIDE = 10.0
RATES = ("learning_rate", "lr", "weight_decay", "eps")

Check = Callable[[Space, Mapping[str, Any], int], Iterator[str]]


def lint(space: Space, asked: Mapping[str, Any], trials: int) -> list[str]:
    """Return the warnings that a user should read before spending the budget on the space.

    Args:
        space: what the trials will search.
        asked: the part of it that the user wrote.
        trials: the budget of trials.
    """
    return [warning for check in CHECKS for warning in check(space, asked, trials)]


def _rates_are_searched_in_orders_of_magnitude(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for parameter in space.parameters:
        d = parameter.distribution
        if not isinstance(d, FloatDistribution) or d.log or d.low < 0:
            continue
        is_rate = any(parameter.name.endswith(rate) for rate in RATES)
        if is_rate and (d.low == 0 or d.high / d.low >= WIDE):
            low = d.low or d.high / 1000
            yield (
                f"{parameter.name} has a linear scale from {d.low:g} to {d.high:g}, so most samples are large: "
                f"write {{low: {low:g}, high: {d.high:g}, log: true}}"
            )


def _ranges_hold_more_than_one_value(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for name, written in asked.items():
        if name not in space and isinstance(written, list | Mapping) and "value" not in written:
            yield f"{name} has one value, {space.constants.get(name)!r}: it is not searched"


def _dimensions_fit_the_budget(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    count = len(space.parameters)
    if count > MOST_DIMENSIONS and trials < TRIALS_PER_DIMENSION * count:
        yield (
            f"{count} parameters are many for {trials} trials: fix some, or set at least "
            f"{TRIALS_PER_DIMENSION * count} trials"
        )


def _seeds_are_not_searched(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for parameter in space.parameters:
        name = parameter.name
        if name == "seed" or name.endswith("random_seed"):
            yield f"{name} is searched, which overfits to chance: fix it, and evaluate the winner with other seeds"


def _numbers_are_not_text(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    for parameter in space.parameters:
        if parameter.is_ordered or len(parameter.values) < 3:
            continue
        if (numbers := _as_numbers(parameter)) is not None:
            yield (
                f"{parameter.name} has numbers as text, so samplers ignore their order: "
                f"write {sorted(numbers)} without quotes"
            )
        elif all(isinstance(value, list) and len(value) == 1 for value in parameter.values):
            yield f"{parameter.name} has lists of one number each, so samplers ignore their order"


def _as_numbers(parameter: Parameter) -> list[float] | None:
    if not all(isinstance(value, str) for value in parameter.values):
        return None
    try:
        return [float(value) for value in parameter.values]
    except ValueError:
        return None


def _space_has_a_point_for_each_trial(space: Space, asked: Mapping[str, Any], trials: int) -> Iterator[str]:
    points = space.facts.n_points
    if points is not None and points < trials:
        yield f"the space has {points} points, so {trials - points} of {trials} trials repeat one: write fewer trials"


CHECKS: tuple[Check, ...] = (
    _rates_are_searched_in_orders_of_magnitude,
    _ranges_hold_more_than_one_value,
    _dimensions_fit_the_budget,
    _seeds_are_not_searched,
    _numbers_are_not_text,
    _space_has_a_point_for_each_trial,
)
