"""What the data and the study make of a default space: each change with its reason.

A rule takes a space and returns it, changed or not. None of them touches what a user wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampler_policies.domains import searching_or_fixing
from sampler_policies.facts import DataFacts
from sampler_policies.parameter import from_choices, name_of
from sampler_policies.space import Space

# Below this many windows a batch, a training step is all overhead.
FEWEST_WINDOWS = 16


def bounded(space: Space, data: DataFacts, defaults: Mapping[str, Any], seed: int) -> Space:
    """Return the default space as this data can use it."""
    rules: tuple[Callable[[Space], Space], ...] = (
        _resource_is_not_searched,
        lambda own: _seed_is_fixed(own, seed),
        _one_name_for_no_scaling,
        lambda own: _defaults_are_offered(own, defaults),
        lambda own: _input_fits(own, data),
        lambda own: _batches_hold_series_that_exist(own, data),
        lambda own: _batches_hold_windows_that_exist(own, data, defaults),
    )
    for rule in rules:
        space = rule(space)
    return space


def _resource_is_not_searched(space: Space) -> Space:
    if "max_steps" not in space:
        return space
    others = tuple(own for own in space.parameters if own.name != "max_steps")
    note = "max_steps is not searched: it is the resource that the pruner deals out"
    return Space(others, space.constants, space.notes).noting(note)


def _seed_is_fixed(space: Space, seed: int) -> Space:
    if "random_seed" not in space:
        return space.fixing("random_seed", seed)
    return space.fixing("random_seed", seed, f"random_seed is fixed at {seed}: a searched seed selects luck")


def _one_name_for_no_scaling(space: Space) -> Space:
    if "scaler_type" not in space or None not in (scaler := space["scaler_type"]).values:
        return space
    named = ["identity" if value is None else value for value in scaler.values]
    return space.searching(from_choices("scaler_type", named))


def _defaults_are_offered(space: Space, defaults: Mapping[str, Any]) -> Space:
    # The default configuration is trial 0, and a sampler can only learn from it where the space holds it.
    for parameter in space.parameters:
        value = defaults.get(parameter.name)
        if parameter.is_ordered or value is None or name_of(value) in map(name_of, parameter.values):
            continue
        note = f"{parameter.name} also offers the model's own default {value}"
        space = space.searching(from_choices(parameter.name, [*parameter.values, value]), note)
    return space


def _input_fits(space: Space, data: DataFacts) -> Space:
    # Recurrent models write "as long as needed" as a negative size; 3 h and the input size are what
    # neuralforecast itself makes of it (BaseModel.__init__).
    if space.constants.get("inference_input_size", 1) < 1:
        space = space.fixing("inference_input_size", None)
    if "input_size" not in space:
        return space
    given = space["input_size"].grid()
    sizes = sorted({size if size > 0 else 3 * data.horizon for size in given})
    fitting = [size for size in sizes if size <= data.longest_input] or sizes[:1]
    if fitting == given:
        return space
    note = None
    if fitting != sizes:
        note = (
            f"input_size ends at {fitting[-1]} instead of {sizes[-1]}: the shortest series has {data.shortest} "
            f"observations, and validation ({data.val_size}) and horizon ({data.horizon}) need theirs"
        )
    return searching_or_fixing(space, from_choices("input_size", fitting), note)


def _batches_hold_series_that_exist(space: Space, data: DataFacts) -> Space:
    if "batch_size" not in space:
        return space
    sizes = space["batch_size"].grid()
    # The first size that already holds every series is as good as any larger one.
    enough = next((rank for rank, size in enumerate(sizes) if size >= data.n_series), len(sizes) - 1)
    if enough == len(sizes) - 1:
        return space
    count = "the one series" if data.n_series == 1 else f"all {data.n_series} series"
    note = f"batch_size ends at {sizes[enough]} instead of {sizes[-1]}: a batch then holds {count}"
    return searching_or_fixing(space, from_choices("batch_size", sizes[: enough + 1]), note)


def _batches_hold_windows_that_exist(space: Space, data: DataFacts, defaults: Mapping[str, Any]) -> Space:
    inputs = space["input_size"].grid() if "input_size" in space else [space.constants.get("input_size", data.horizon)]
    batch = max(space["batch_size"].grid()) if "batch_size" in space else space.constants.get("batch_size", 32)
    per_series = data.training_windows(min(inputs)) / data.n_series
    available = max(FEWEST_WINDOWS, int(per_series * min(batch, data.n_series)))
    largest = 2 ** (available.bit_length() - 1)
    note = f"a batch of series offers about {available} training windows, and more would only be drawn twice"
    if "windows_batch_size" in space:
        sizes = space["windows_batch_size"].grid()
        if sizes[-1] <= largest:
            return space
        smallest = max(FEWEST_WINDOWS, min(sizes[0], largest // 4))
        fitting = [size for size in (2**power for power in range(4, 16)) if smallest <= size <= largest]
        note = f"windows_batch_size spans {fitting[0]} to {fitting[-1]} instead of {sizes[0]} to {sizes[-1]}: {note}"
        return searching_or_fixing(space, from_choices("windows_batch_size", fitting), note)
    usual = defaults.get("windows_batch_size")
    if not isinstance(usual, int) or usual <= largest:
        return space
    return space.fixing("windows_batch_size", largest, f"windows_batch_size is {largest} instead of {usual}: {note}")
