"""What cannot work together, known before anything runs: each with what to write instead.

Each check looks at the values that trials may get, and refuses where one of them can never train. What neuralforecast's
constructors refuse beyond these is found by building the model (`workers.study`). All were seen to fail with
neuralforecast 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampler_policies.catalogue import ModelEntry
from sampler_policies.errors import InputError, did_you_mean
from sampler_policies.facts import DataFacts
from sampler_policies.space import Space

# `neuralforecast.common._scalers.TemporalNorm`.
SCALERS = ("identity", "standard", "robust", "minmax", "minmax1", "invariant", "revin")
# Models whose attention splits the hidden size evenly; the others project to a size of their own.
SPLITTING = ("PatchTST", "TFT")
FEDFORMER_HEADS = 8
AVERAGES = ("moving_avg_window", "MovingAvg_window")
STACKS = ("n_pool_kernel_size", "n_freq_downsample", "n_blocks", "mlp_units")
RECURRENT_KEYS = ("encoder_n_layers", "encoder_hidden_size", "decoder_hidden_size", "decoder_layers", "recurrent")


@dataclass(frozen=True)
class Combination:
    """What is to work together."""

    space: Space
    data: DataFacts
    model: ModelEntry
    asked: Mapping[str, Any]

    def values(self, name: str) -> list[Any]:
        """Return every value that the argument may have, its ends where it is a range; none where it is not said."""
        if name in self.space:
            own = self.space[name]
            return own.extremes() if own.size is None or own.size > 1000 else own.grid()
        if name in self.space.constants:
            return [self.space.constants[name]]
        return [self.model.defaults[name]] if self.model.defaults.get(name) is not None else []


Problem = tuple[str, Any, str]
Check = Callable[[Combination], Iterator[Problem]]


def refuse_what_cannot_work(space: Space, data: DataFacts, model: ModelEntry, asked: Mapping[str, Any]) -> None:
    """Check everything.

    Raises:
        InputError: the first combination that can never train.
    """
    combination = Combination(space, data, model, asked)
    for check in CHECKS:
        for name, got, remedy in check(combination):
            # What the user did not write is not for the user to mend: policies keep their own spaces sound.
            if name in asked:
                raise InputError(f"space.{name}", got, remedy)


def foreign_argument(name: str, model: ModelEntry) -> str:
    """Return what to write instead of an argument that the model does not take."""
    if "dropout" in name and model.dropouts:
        return f"{model.name} calls it {' or '.join(model.dropouts)}."
    if "dropout" in name:
        return f"{model.name} has no dropout: leave it out."
    if name in RECURRENT_KEYS and not model.is_recurrent:
        return f"only recurrent models take it, and {model.name} is none: leave it out."
    return f"{model.name} takes no such argument: {did_you_mean(name, model.arguments)}"


def _scaler_is_known(own: Combination) -> Iterator[Problem]:
    for value in own.values("scaler_type"):
        if value is not None and value not in SCALERS:
            yield "scaler_type", repr(value), did_you_mean(value, SCALERS)


def _heads_divide_the_hidden_size(own: Combination) -> Iterator[Problem]:
    for name in ("n_head", "n_heads"):
        if name not in own.model.defaults:
            continue
        if own.model.name == "FEDformer" and (wrong := [n for n in own.values(name) if n != FEDFORMER_HEADS]):
            yield name, wrong[0], f"FEDformer works with {FEDFORMER_HEADS} heads only: leave it out."
        if own.model.name not in SPLITTING:
            continue
        for size in own.values("hidden_size"):
            for heads in own.values(name):
                if heads < 1 or size % heads:
                    said = "hidden_size" if "hidden_size" in own.asked else name
                    remedy = f"each head takes an even share: write sizes that {heads} divides, as {heads * 16}."
                    yield said, f"{size} for {heads} heads", remedy


def _patches_fit_into_the_input(own: Combination) -> Iterator[Problem]:
    if own.model.name != "TimeXer":
        return
    for patch in own.values("patch_len"):
        for size in own.values("input_size"):
            if patch > size:
                yield "patch_len", patch, f"an input of {size} holds no such patch: write one of at most {size}."
                yield "input_size", size, f"it holds no patch of {patch}: write a smaller patch_len too."


def _moving_averages_have_a_middle(own: Combination) -> Iterator[Problem]:
    for name in AVERAGES:
        for window in own.values(name):
            if window % 2 == 0:
                yield name, window, f"a window needs a middle: write an odd number, as {window + 1}."


def _stacks_agree(own: Combination) -> Iterator[Problem]:
    stacks = own.values("stack_types")
    if not stacks or any(len(own_stack) != len(stacks[0]) for own_stack in stacks):
        return
    for name in STACKS:
        for value in own.values(name):
            if isinstance(value, list) and len(value) < len(stacks[0]):
                yield name, value, f"{own.model.name} has {len(stacks[0])} stacks: write a value for each."


def _inputs_are_long_enough(own: Combination) -> Iterator[Problem]:
    for size in own.values("input_size"):
        if size == 1 and own.data.horizon == 1:
            yield "input_size", size, "one observation in and one out leave nothing to learn: write at least 2."
        if own.model.name == "TimesNet" and size > 0 and size + own.data.horizon < 10:
            yield "input_size", size, f"TimesNet looks for five periods: write at least {10 - own.data.horizon}."


def _inputs_are_whole_scales(own: Combination) -> Iterator[Problem]:
    layers, windows = own.values("down_sampling_layers"), own.values("down_sampling_window")
    if not layers or not windows:
        return
    multiple = max(windows) ** max(layers)
    for size in own.values("input_size"):
        if size > 0 and size % multiple:
            remedy = f"{own.model.name} pools its input down by {multiple}: write multiples of that, as "
            yield "input_size", size, f"{remedy}{-(-size // multiple) * multiple}."


def _frequencies_exist(own: Combination) -> Iterator[Problem]:
    if own.model.name != "TimesNet":
        return
    for size in own.values("input_size"):
        for k in own.values("top_k"):
            if size > 0 and k > (size + own.data.horizon) // 2:
                most = (size + own.data.horizon) // 2
                yield "top_k", k, f"input and horizon of {size + own.data.horizon} hold {most}: write at most that."


def _learning_rates_are_rates(own: Combination) -> Iterator[Problem]:
    for rate in own.values("learning_rate"):
        if isinstance(rate, int | float) and rate <= 0:
            yield "learning_rate", rate, "write a number above 0, usually 0.0001 to 0.1."


def _dropouts_are_shares(own: Combination) -> Iterator[Problem]:
    for name in own.model.dropouts:
        for share in own.values(name):
            if isinstance(share, int | float) and not 0 <= share < 1:
                yield name, share, "it is the share of units that is left out: write 0 to below 1."


def _sizes_count_something(own: Combination) -> Iterator[Problem]:
    for name in ("hidden_size", "num_layers", "n_layers", "encoder_n_layers", "encoder_hidden_size"):
        if name not in own.model.arguments:
            continue
        for size in own.values(name):
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
