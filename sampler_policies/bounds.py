"""What the model, the data and the study make of a default space: each change with its reason.

A rule takes a space and returns it, changed or not, and is about one argument. None is asked about an argument
that the user wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from sampler_policies.catalogue import ModelEntry
from sampler_policies.domains import searching_or_fixing
from sampler_policies.facts import DataFacts
from sampler_policies.parameter import from_choices
from sampler_policies.space import Space

# Below this many windows a batch, a training step is all overhead.
FEWEST_WINDOWS = 16
# Of six trainings of an MLP and a PatchTST, 200 steps of 32 windows ended between 22 % below and 11 % above the loss of
# 200 steps of 1024, in a fifth to an eighteenth of the time (docs/benchmarks.md).
MOST_WINDOWS = 128
# Input and horizon together. With less, some models fail in training: TimesNet finds no five periods below 10,
# Autoformer no lags below 7; BiTCN and all with a decoder want an input of more than 1.
SHORTEST_WINDOW = 10

Rule = Callable[[Space, DataFacts, ModelEntry], Space]


def bounded(space: Space, data: DataFacts, model: ModelEntry, seed: int, asked: Collection[str] = ()) -> Space:
    """Return the model's default space as this data can use it.

    Args:
        space: the default space, with what the user wrote in it.
        data: what the series are like.
        model: whose space it is.
        seed: of the study, for the training.
        asked: the arguments that the user wrote, which stay as they are.
    """
    if "random_seed" not in asked:
        space = _seed_is_fixed(space, seed)
    for argument, rule in RULES:
        if argument not in asked:
            space = rule(space, data, model)
    return _defaults_are_offered(space, model, asked)


def numbers_of(space: Space, name: str, usual: Any) -> list[Any]:
    """Return the ends of what an argument may be, or the one value that it has; ``usual`` where the space is silent."""
    return space[name].extremes() if name in space else [space.constants.get(name, usual)]


def input_sizes(space: Space, horizon: int, model: ModelEntry) -> list[int]:
    """Return the smallest and the largest input size.

    Recurrent models write "as long as needed" as a negative size, of which neuralforecast itself makes three
    horizons (``BaseModel.__init__``).
    """
    sizes = numbers_of(space, "input_size", model.defaults.get("input_size", horizon))
    sizes = [size if size > 0 else 3 * horizon for size in sizes]
    return [min(sizes), max(sizes)]


def _seed_is_fixed(space: Space, seed: int) -> Space:
    note = f"random_seed is fixed at {seed}: a searched seed selects luck" if "random_seed" in space else None
    return space.fixing("random_seed", seed, note)


def _resource_is_not_searched(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "max_steps" not in space:
        return space
    return space.without("max_steps").noting("max_steps is not searched: it is the resource that the pruner deals out")


def _what_has_no_effect_is_not_searched(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    # neuralforecast 3.3 takes the argument, warns of it, and leaves it at that.
    if "context_size" not in space:
        return space
    return space.without("context_size").noting("context_size is not searched: neuralforecast no longer uses it")


def _no_scaling_has_one_name(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "scaler_type" not in space:
        return space
    named = ["identity" if value is None else value for value in space["scaler_type"].values]
    return searching_or_fixing(space, from_choices("scaler_type", named))


def _stacks_suit_one_step(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    stacks = model.defaults.get("stack_types", ())
    if data.horizon > 1 or not {"trend", "seasonality"} & set(stacks):
        return space
    note = "stack_types are all identity: a horizon of 1 has neither trend nor seasonality"
    return space.fixing("stack_types", ["identity"] * len(stacks), note)


def _input_suits_model(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "input_size" not in space:
        return space
    own = sorted({size if size > 0 else 3 * data.horizon for size in space["input_size"].grid()})
    shortest = max(1, SHORTEST_WINDOW - data.horizon)
    # Where all are too short (a horizon of 1), multiples of something longer take their place.
    factor = 1 if own[-1] >= shortest else math.ceil(shortest / own[0])
    sizes = [size * factor for size in own if size * factor >= shortest]
    note = (
        f"input_size goes from {sizes[0]} to {sizes[-1]} instead of {own[0]} to {own[-1]}: "
        f"input and horizon together hold at least {SHORTEST_WINDOW} observations"
    )
    space = searching_or_fixing(space, from_choices("input_size", sizes), note if sizes != own else None)
    multiple = _input_multiple(space, model)
    if all(size % multiple == 0 for size in sizes):
        return space
    note = f"input_size takes multiples of {multiple} only: {model.name} pools its input down by that"
    return searching_or_fixing(space, from_choices("input_size", [_next(size, multiple) for size in sizes]), note)


def _input_multiple(space: Space, model: ModelEntry) -> int:
    """Return of what the input must be a multiple: TimeMixer builds each coarser scale from whole windows."""
    layers = max(numbers_of(space, "down_sampling_layers", model.defaults.get("down_sampling_layers", 0)))
    window = max(numbers_of(space, "down_sampling_window", model.defaults.get("down_sampling_window", 1)))
    return int(window**layers)


def _next(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _input_fits(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "input_size" not in space or space.constants.get("start_padding_enabled"):
        return space
    sizes = space["input_size"].grid()
    fitting = [size for size in sizes if size <= data.longest_input] or sizes[:1]
    if fitting == sizes:
        return space
    note = (
        f"input_size ends at {fitting[-1]} instead of {sizes[-1]}: the shortest series has {data.shortest} "
        f"observations, and validation ({data.val_size}) and horizon ({data.horizon}) need theirs"
    )
    return searching_or_fixing(space, from_choices("input_size", fitting), note)


def _inference_input_is_the_input(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "inference_input_size" not in space.constants:
        return space
    # A negative one means just that, with a warning on every trial.
    return space.fixing("inference_input_size", None)


def _patches_fit(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    usual = model.defaults.get("patch_len")
    shortest = input_sizes(space, data.horizon, model)[0]
    if usual is None or "patch_len" in space or usual <= shortest:
        return space
    return space.fixing(
        "patch_len", shortest, f"patch_len is {shortest} instead of {usual}: the shortest input holds no longer patch"
    )


def _batches_hold_series_that_exist(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    if "batch_size" not in space:
        return space
    if model.needs_n_series:
        usual = model.defaults["batch_size"]
        return space.fixing("batch_size", usual, f"batch_size is not searched: {model.name} takes all series at once")
    sizes = space["batch_size"].grid()
    # The first size that already holds every series is as good as any larger one.
    enough = next((rank for rank, size in enumerate(sizes) if size >= data.n_series), len(sizes) - 1)
    if enough == len(sizes) - 1:
        return space
    count = "the one series" if data.n_series == 1 else f"all {data.n_series} series"
    note = f"batch_size ends at {sizes[enough]} instead of {sizes[-1]}: a batch then holds {count}"
    return searching_or_fixing(space, from_choices("batch_size", sizes[: enough + 1]), note)


def _batches_hold_few_windows(space: Space, data: DataFacts, model: ModelEntry) -> Space:
    usual = space.constants.get("windows_batch_size", model.defaults.get("windows_batch_size"))
    own = space["windows_batch_size"].grid() if "windows_batch_size" in space else [usual]
    available = _windows_in_a_batch(space, data, model)
    largest = min(MOST_WINDOWS, max(FEWEST_WINDOWS, 2 ** (available.bit_length() - 1)))
    smallest = max(FEWEST_WINDOWS, min(own[0] or largest, largest // 4))
    fitting = [2**power for power in range(largest.bit_length()) if 2**power >= smallest]
    if _is_left_at_default(space, own, model) and len(fitting) > 1:
        note = f"windows_batch_size spans {smallest} to {largest} instead of {usual}: a step takes time in proportion"
        return space.searching(from_choices("windows_batch_size", fitting), note)
    if own[-1] is None or own[-1] <= largest:
        return space
    reason = "a step takes time in proportion, and after as many steps more windows gave no better loss"
    if largest < MOST_WINDOWS:
        reason = f"a batch of series offers about {available} training windows, and more would only be drawn twice"
    if len(own) == 1:
        return space.fixing(
            "windows_batch_size", largest, f"windows_batch_size is {largest} instead of {usual}: {reason}"
        )
    note = f"windows_batch_size spans {fitting[0]} to {fitting[-1]} instead of {own[0]} to {own[-1]}: {reason}"
    return searching_or_fixing(space, from_choices("windows_batch_size", fitting), note)


def _is_left_at_default(space: Space, own: list[Any], model: ModelEntry) -> bool:
    """Return whether the Auto class says nothing of windows, of which the model by default draws many."""
    is_said = "windows_batch_size" in space or "windows_batch_size" in space.constants
    return not is_said and not model.needs_n_series and own[0] is not None and own[0] >= MOST_WINDOWS


def _windows_in_a_batch(space: Space, data: DataFacts, model: ModelEntry) -> int:
    per_series = data.training_windows(input_sizes(space, data.horizon, model)[0]) / data.n_series
    if model.needs_n_series:  # a window of a multivariate model is one of all series
        return max(1, int(per_series))
    batch = max(numbers_of(space, "batch_size", model.defaults["batch_size"]))
    return max(1, int(per_series * min(batch, data.n_series)))


def _defaults_are_offered(space: Space, model: ModelEntry, asked: Collection[str]) -> Space:
    # The default configuration is trial 0, and a sampler can only learn from it where the space holds it.
    for parameter in space.parameters:
        value = model.defaults.get(parameter.name)
        if parameter.is_ordered or value is None or parameter.name in asked:
            continue
        with_default = from_choices(parameter.name, [*parameter.values, value])
        if with_default != parameter:
            note = f"{parameter.name} also offers the model's own default {value}"
            space = space.searching(with_default, note)
    return space


# Each uses what those before it have made of the space.
RULES: tuple[tuple[str, Rule], ...] = (
    ("max_steps", _resource_is_not_searched),
    ("context_size", _what_has_no_effect_is_not_searched),
    ("scaler_type", _no_scaling_has_one_name),
    ("stack_types", _stacks_suit_one_step),
    ("input_size", _input_suits_model),
    ("input_size", _input_fits),
    ("inference_input_size", _inference_input_is_the_input),
    ("patch_len", _patches_fit),
    ("batch_size", _batches_hold_series_that_exist),
    ("windows_batch_size", _batches_hold_few_windows),
)
