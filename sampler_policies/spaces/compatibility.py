"""Combinations of values that can never train, refused before anything runs, each with a remedy.

Each check looks at all values that trials may get. What the constructors of neuralforecast refuse in addition is found
by building the model (`castpool.workers.planning.build_check`). All of these fail with neuralforecast 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.spaces.data_bounds import numbers_of
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.sampler_policies.spaces.space import Space

# `neuralforecast.common._scalers.TemporalNorm`.
SCALERS = ("identity", "standard", "robust", "minmax", "minmax1", "invariant", "revin")
# Models whose attention splits the hidden size evenly; the others project to another size.
SPLITTING = ("PatchTST", "TFT")
FEDFORMER_HEADS = 8
AVERAGES = ("moving_avg_window", "MovingAvg_window")
STACKS = ("n_pool_kernel_size", "n_freq_downsample", "n_blocks", "mlp_units")
RECURRENT_KEYS = ("encoder_n_layers", "encoder_hidden_size", "decoder_hidden_size", "decoder_layers", "recurrent")

# Arguments that are whole numbers; the rules compare them with the size of the data.
COUNTS = (
    "input_size",
    "batch_size",
    "windows_batch_size",
    "step_size",
    "max_steps",
    "val_check_steps",
    "down_sampling_layers",
    "down_sampling_window",
)


@dataclass(frozen=True)
class Combination:
    """A space, its data and its model, which must work together; ``asked`` is the part that the user wrote."""

    space: Space
    data: DataFacts
    model: ModelEntry
    asked: Mapping[str, Any]

    def values(self, name: str) -> list[Any]:
        """Return every value that the argument may have, only the ends of a range; none where it is not set."""
        if name in self.space:
            parameter = self.space[name]
            is_range = parameter.size is None or parameter.size > 1000
            return parameter.extremes() if is_range else parameter.grid()
        if name in self.space.constants:
            return [self.space.constants[name]]
        return [self.model.defaults[name]] if self.model.defaults.get(name) is not None else []


Problem = tuple[str, Any, str]
Check = Callable[[Combination], Iterator[Problem]]


def refuse_what_cannot_work(space: Space, data: DataFacts, model: ModelEntry, asked: Mapping[str, Any]) -> None:
    """Run every check.

    Raises:
        InputError: the first combination that can never train.
    """
    combination = Combination(space, data, model, asked)
    for check in CHECKS:
        for name, got, remedy in check(combination):
            # Only what the user wrote can the user correct; the policies keep default spaces valid.
            if name in asked:
                raise InputError(f"space.{name}", got, remedy)


def refuse_counts_below_one(space: Space) -> None:
    """Check the arguments that are whole numbers (``COUNTS``), also those of default spaces.

    Raises:
        InputError: a value that is no whole number of at least 1.
    """
    for name in COUNTS:
        if name not in space and name not in space.constants:
            continue
        for value in numbers_of(space, name, default=None):
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            # Recurrent models take a negative input size; without a number of windows, a batch has all windows.
            is_special = name == "input_size" if is_whole else value is None and name == "windows_batch_size"
            if not is_special and not (is_whole and value >= 1):
                raise InputError(f"space.{name}", repr(value), "write whole numbers of at least 1.")


def foreign_argument(name: str, model: ModelEntry) -> str:
    """Return what to write instead of an argument that the model does not take."""
    if "dropout" in name and model.dropouts:
        return f"{model.name} calls it {' or '.join(model.dropouts)}."
    if "dropout" in name:
        return f"{model.name} has no dropout: leave it out."
    if name in RECURRENT_KEYS and not model.is_recurrent:
        return f"only recurrent models take it, and {model.name} is not recurrent: leave it out."
    return f"{model.name} takes no such argument: {did_you_mean(name, model.arguments)}"


def _scaler_is_known(combination: Combination) -> Iterator[Problem]:
    for value in combination.values("scaler_type"):
        if value is not None and value not in SCALERS:
            yield "scaler_type", repr(value), did_you_mean(value, SCALERS)


def _heads_divide_the_hidden_size(combination: Combination) -> Iterator[Problem]:
    for name in ("n_head", "n_heads"):
        if name not in combination.model.defaults:
            continue
        if combination.model.name == "FEDformer" and (
            wrong := [n for n in combination.values(name) if n != FEDFORMER_HEADS]
        ):
            yield name, wrong[0], f"FEDformer works with {FEDFORMER_HEADS} heads only: leave it out."
        if combination.model.name not in SPLITTING:
            continue
        for size in combination.values("hidden_size"):
            for heads in combination.values(name):
                if heads < 1 or size % heads:
                    field = "hidden_size" if "hidden_size" in combination.asked else name
                    remedy = f"each head takes an even share: write sizes divisible by {heads}, e.g. {heads * 16}."
                    yield field, f"{size} for {heads} heads", remedy


def _patches_fit_into_the_input(combination: Combination) -> Iterator[Problem]:
    if combination.model.name != "TimeXer":
        return
    for patch in combination.values("patch_len"):
        for size in combination.values("input_size"):
            if patch > size:
                yield "patch_len", patch, f"an input of {size} holds no such patch: write one of at most {size}."
                yield "input_size", size, f"it holds no patch of {patch}: write a smaller patch_len too."


def _moving_averages_have_a_middle(combination: Combination) -> Iterator[Problem]:
    for name in AVERAGES:
        for window in combination.values(name):
            if window % 2 == 0:
                yield name, window, f"a centred window has odd length: write e.g. {window + 1}."


def _stacks_agree(combination: Combination) -> Iterator[Problem]:
    stacks = combination.values("stack_types")
    if not stacks or any(len(choice) != len(stacks[0]) for choice in stacks):
        return
    for name in STACKS:
        for value in combination.values(name):
            if isinstance(value, list) and len(value) < len(stacks[0]):
                yield name, value, f"{combination.model.name} has {len(stacks[0])} stacks: write a value for each."


def _inputs_are_long_enough(combination: Combination) -> Iterator[Problem]:
    for size in combination.values("input_size"):
        if size == 1 and combination.data.horizon == 1:
            yield "input_size", size, "with a horizon of 1, one observation of input is too little: write at least 2."
        if combination.model.name == "TimesNet" and size > 0 and size + combination.data.horizon < 10:
            yield "input_size", size, f"TimesNet needs five periods: write at least {10 - combination.data.horizon}."


def _inputs_are_whole_scales(combination: Combination) -> Iterator[Problem]:
    layers, windows = combination.values("down_sampling_layers"), combination.values("down_sampling_window")
    if not layers or not windows:
        return
    multiple = max(windows) ** max(layers)
    for size in combination.values("input_size"):
        if size > 0 and size % multiple:
            remedy = f"{combination.model.name} pools its input down by {multiple}: write multiples of that, e.g. "
            yield "input_size", size, f"{remedy}{-(-size // multiple) * multiple}."


def _frequencies_exist(combination: Combination) -> Iterator[Problem]:
    if combination.model.name != "TimesNet":
        return
    for size in combination.values("input_size"):
        for k in combination.values("top_k"):
            if size > 0 and k > (size + combination.data.horizon) // 2:
                most = (size + combination.data.horizon) // 2
                yield (
                    "top_k",
                    k,
                    f"input and horizon of {size + combination.data.horizon} hold {most}: write at most that.",
                )


def _learning_rates_are_rates(combination: Combination) -> Iterator[Problem]:
    for rate in combination.values("learning_rate"):
        if isinstance(rate, int | float) and rate <= 0:
            yield "learning_rate", rate, "write a number above 0, usually 0.0001 to 0.1."


def _dropouts_are_shares(combination: Combination) -> Iterator[Problem]:
    for name in combination.model.dropouts:
        for share in combination.values(name):
            if isinstance(share, int | float) and not 0 <= share < 1:
                yield name, share, "it is the share of units that is dropped: write 0 to below 1."


def _sizes_count_something(combination: Combination) -> Iterator[Problem]:
    for name in ("hidden_size", "num_layers", "n_layers", "encoder_n_layers", "encoder_hidden_size"):
        if name not in combination.model.arguments:
            continue
        for size in combination.values(name):
            if isinstance(size, int | float) and (size < 1 or size != int(size)):
                yield name, size, "write whole numbers of at least 1."


CHECKS: tuple[Check, ...] = (
    _scaler_is_known,
    _heads_divide_the_hidden_size,
    _patches_fit_into_the_input,
    _moving_averages_have_a_middle,
    _stacks_agree,
    _inputs_are_long_enough,
    _inputs_are_whole_scales,
    _frequencies_exist,
    _learning_rates_are_rates,
    _dropouts_are_shares,
    _sizes_count_something,
)
