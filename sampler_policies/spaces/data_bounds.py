"""Bounds of a default space by the model, the data and the study: each change has its reason.

A rule takes a space and returns it, changed or not, and concerns one argument. No rule changes an argument that the
user wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.sampler_policies.spaces.parameter import from_choices
from castpool.sampler_policies.spaces.ray_domains import searching_or_fixing
from castpool.sampler_policies.spaces.space import Space

# With fewer windows per batch, a training step is mostly overhead.
FEWEST_WINDOWS = 16
# In six trainings of an MLP and a PatchTST, 200 steps of 32 windows ended with 22 % less to 11 % more loss than 200
# steps of 1024 windows, in a fifth to an eighteenth of the time (docs/benchmarks.md).
MOST_WINDOWS = 128
# Input and horizon together. With less, some models fail in training: TimesNet needs 10 for its five periods,
# Autoformer 7 for its lags; BiTCN and all models with a decoder need an input of more than 1.
SHORTEST_WINDOW = 10

Rule = Callable[[Space, DataFacts, ModelEntry], Space]


def bounded(space: Space, data: DataFacts, model: ModelEntry, seed: int, asked: Collection[str] = ()) -> Space:
    """Return the model's default space, bounded by the data.

    Args:
        space: the default space, with the user's parameters in it.
        data: the facts on the series.
        model: the model of the space.
        seed: the study's seed, for the training.
        asked: the arguments that the user wrote, which are not changed.
    """
    if "random_seed" not in asked:
        space = _fix_seed(space, seed)
    for argument, rule in RULES:
        if argument not in asked:
            space = rule(space, data, model)
    return _offer_defaults(space, model, asked)


def numbers_of(space: Space, name: str, default: Any) -> list[Any]:
    """Return the ends of an argument's range, or its fixed value; ``default`` where the space does not set it."""
    return space[name].extremes() if name in space else [space.constants.get(name, default)]


def input_sizes(space: Space, horizon: int, model: ModelEntry) -> list[int]:
    """Return the smallest and the largest input size.

    For recurrent models a negative size means "as long as needed", which neuralforecast takes as three horizons
    (``BaseModel.__init__``).
    """
    sizes = numbers_of(space, "input_size", model.defaults.get("input_size", horizon))
    sizes = [size if size > 0 else 3 * horizon for size in sizes]
    return [min(sizes), max(sizes)]


def _fix_seed(space: Space, seed: int) -> Space:
    note = (
        f"random_seed is fixed at {seed}: tuning the seed would overfit to chance" if "random_seed" in space else None
    )
    return space.fixing("random_seed", seed, note)


def _remove_resource(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "max_steps" not in space:
        return space
    return space.without("max_steps").noting("max_steps is not searched: it is the pruner's resource")


def _remove_unused_context_size(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    # neuralforecast 3.3 takes the argument, warns of it, and does not use it.
    if "context_size" not in space:
        return space
    return space.without("context_size").noting("context_size is not searched: neuralforecast no longer uses it")


def _name_identity_scaler(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "scaler_type" not in space:
        return space
    named = ["identity" if value is None else value for value in space["scaler_type"].values]
    return searching_or_fixing(space, from_choices("scaler_type", named))


def _use_identity_stacks_for_one_step(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    stacks = model.defaults.get("stack_types", ())
    if data.horizon > 1 or not {"trend", "seasonality"} & set(stacks):
        return space
    note = "stack_types are all identity: a horizon of 1 has no trend and no seasonality"
    return space.fixing("stack_types", ["identity"] * len(stacks), note)


def _lengthen_inputs(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "input_size" not in space:
        return space
    offered = sorted({size if size > 0 else 3 * data.horizon for size in space["input_size"].grid()})
    shortest = max(1, SHORTEST_WINDOW - data.horizon)
    # Where all sizes are too short (a horizon of 1), multiples of them replace them.
    factor = 1 if offered[-1] >= shortest else math.ceil(shortest / offered[0])
    sizes = [size * factor for size in offered if size * factor >= shortest]
    note = (
        f"input_size goes from {sizes[0]} to {sizes[-1]} instead of {offered[0]} to {offered[-1]}: "
        f"input and horizon together hold at least {SHORTEST_WINDOW} observations"
    )
    space = searching_or_fixing(space, from_choices("input_size", sizes), note if sizes != offered else None)
    multiple = _input_multiple(space, model)
    if all(size % multiple == 0 for size in sizes):
        return space
    note = f"input_size takes multiples of {multiple} only: {model.name} pools its input down by {multiple}"
    return searching_or_fixing(space, from_choices("input_size", [_round_up(size, multiple) for size in sizes]), note)


def _input_multiple(space: Space, model: ModelEntry) -> int:
    """Return the number of which inputs must be multiples: TimeMixer builds coarser scales from whole windows."""
    layers = max(numbers_of(space, "down_sampling_layers", model.defaults.get("down_sampling_layers", 0)))
    window = max(numbers_of(space, "down_sampling_window", model.defaults.get("down_sampling_window", 1)))
    return int(window**layers)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _shorten_inputs(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "input_size" not in space or space.constants.get("start_padding_enabled"):
        return space
    sizes = space["input_size"].grid()
    fitting = [size for size in sizes if size <= data.longest_input] or sizes[:1]
    if fitting == sizes:
        return space
    note = f"input_size ends at {fitting[-1]} instead of {sizes[-1]}: {data.described_parts}"
    return searching_or_fixing(space, from_choices("input_size", fitting), note)


def _use_input_at_inference(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "inference_input_size" not in space.constants:
        return space
    # A negative size means the same, with a warning at every trial.
    return space.fixing("inference_input_size", None)


def _shorten_patches(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    default = model.defaults.get("patch_len")
    shortest = input_sizes(space, data.horizon, model)[0]
    if default is None or "patch_len" in space or default <= shortest:
        return space
    note = f"patch_len is {shortest} instead of {default}: the shortest input holds no longer patch"
    return space.fixing("patch_len", shortest, note)


def _limit_batches_to_series(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "batch_size" not in space:
        return space
    if model.needs_n_series:
        note = f"batch_size is not searched: {model.name} takes all series at once"
        return space.fixing("batch_size", model.defaults["batch_size"], note)
    sizes = space["batch_size"].grid()
    # The first size that holds every series gives the same batches as any larger one.
    enough = next((rank for rank, size in enumerate(sizes) if size >= data.n_series), len(sizes) - 1)
    if enough == len(sizes) - 1:
        return space
    count = "the one series" if data.n_series == 1 else f"all {data.n_series} series"
    note = f"batch_size ends at {sizes[enough]} instead of {sizes[-1]}: a batch then holds {count}"
    return searching_or_fixing(space, from_choices("batch_size", sizes[: enough + 1]), note)


def _limit_windows_per_batch(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    default = space.constants.get("windows_batch_size", model.defaults.get("windows_batch_size"))
    offered = space["windows_batch_size"].grid() if "windows_batch_size" in space else [default]
    available = _windows_in_a_batch(space, data, model)
    largest = min(MOST_WINDOWS, max(FEWEST_WINDOWS, 2 ** (available.bit_length() - 1)))
    smallest = max(FEWEST_WINDOWS, min(offered[0] or largest, largest // 4))
    fitting = [2**power for power in range(largest.bit_length()) if 2**power >= smallest]
    if _is_left_at_default(space, offered, model) and len(fitting) > 1:
        change = f"windows_batch_size spans {smallest} to {largest} instead of {default}"
        note = f"{change}: the time of a step is proportional to it"
        return space.searching(from_choices("windows_batch_size", fitting), note)
    if offered[-1] is None or offered[-1] <= largest:
        return space
    reason = "the time of a step is proportional to it, and more windows gave no better loss per step"
    if largest < MOST_WINDOWS:
        reason = f"a batch of series has about {available} training windows; more would be drawn twice"
    if len(offered) == 1:
        note = f"windows_batch_size is {largest} instead of {default}: {reason}"
        return space.fixing("windows_batch_size", largest, note)
    note = f"windows_batch_size spans {fitting[0]} to {fitting[-1]} instead of {offered[0]} to {offered[-1]}: {reason}"
    return searching_or_fixing(space, from_choices("windows_batch_size", fitting), note)


def _is_left_at_default(space: Space, offered: list[Any], model: ModelEntry) -> bool:
    """Return whether the Auto class does not set the number of windows and the model's default is large."""
    is_set = "windows_batch_size" in space or "windows_batch_size" in space.constants
    return not is_set and not model.needs_n_series and offered[0] is not None and offered[0] >= MOST_WINDOWS


def _windows_in_a_batch(space: Space, data: DataFacts, model: ModelEntry) -> int:
    per_series = data.training_windows(input_sizes(space, data.horizon, model)[0]) / data.n_series
    if model.needs_n_series:  # a window of a multivariate model spans all series
        return max(1, int(per_series))
    batch = max(numbers_of(space, "batch_size", model.defaults["batch_size"]))
    return max(1, int(per_series * min(batch, data.n_series)))


def _offer_defaults(space: Space, model: ModelEntry, asked: Collection[str]) -> Space:
    # Trial 0 has the default configuration; samplers learn from it only where the space contains it.
    for parameter in space.parameters:
        value = model.defaults.get(parameter.name)
        if parameter.is_ordered or value is None or parameter.name in asked:
            continue
        with_default = from_choices(parameter.name, [*parameter.values, value])
        if with_default != parameter:
            note = f"{parameter.name} also has the model's default {value}"
            space = space.searching(with_default, note)
    return space


# Each rule gets the space that the rules before it returned.
RULES: tuple[tuple[str, Rule], ...] = (
    ("max_steps", _remove_resource),
    ("context_size", _remove_unused_context_size),
    ("scaler_type", _name_identity_scaler),
    ("stack_types", _use_identity_stacks_for_one_step),
    ("input_size", _lengthen_inputs),
    ("input_size", _shorten_inputs),
    ("inference_input_size", _use_input_at_inference),
    ("patch_len", _shorten_patches),
    ("batch_size", _limit_batches_to_series),
    ("windows_batch_size", _limit_windows_per_batch),
)
