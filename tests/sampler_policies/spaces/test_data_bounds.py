"""For every model and many shapes of data: what holds for a bounded space."""

from __future__ import annotations

import importlib.util
import itertools
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
import pytest
from neuralforecast.losses.pytorch import MAE
from neuralforecast.tsdataset import TimeSeriesDataset

from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.spaces.data_bounds import FEWEST_WINDOWS, SHORTEST_WINDOW, bounded, input_sizes
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry, entry, names
from castpool.sampler_policies.spaces.overrides import override
from castpool.sampler_policies.spaces.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Lightning warns of data loaders; torch and neuralforecast of values in the default spaces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
    pytest.mark.filterwarnings("ignore:context_size is deprecated"),
    pytest.mark.filterwarnings("ignore:channel_ff=8 is not a multiple of n_series"),
    pytest.mark.filterwarnings("ignore:dropout option adds dropout after all but last recurrent layer"),
]

SHAPES = [(1, 60), (1, 144), (300, 80), (8, 1000)]
HORIZONS = [1, 2, 3, 7, 8, 12, 24]
HEAVY = (
    "FEDformer",
    "Informer",
    "KAN",
    "SOFTSSharp",
    "StemGNN",
    "TimeMixer",
    "TimeXer",
    "TimesNet",
    "VanillaTransformer",
)
QUIET = {
    "devices": 1,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
# Arguments that change without a note: the behaviour is the same, or it is the user's seed.
SILENT = {"scaler_type", "inference_input_size", "random_seed"}

each_model = pytest.mark.parametrize("name", names())
each_installed_model = pytest.mark.parametrize(
    "name", [name for name in names() if name != "xLSTM" or importlib.util.find_spec("xlstm")]
)


class Case(NamedTuple):
    """A model's space for one shape of data."""

    data: DataFacts
    default: Space
    space: Space


def facts(n_series: int, length: int, horizon: int) -> DataFacts:
    return DataFacts(n_series, length, length, n_series * length, horizon, val_size=horizon)


def bounded_default(model: ModelEntry, data: DataFacts, seed: int = 1) -> Space:
    return bounded(model.default_space(data.horizon, data.n_series), data, model, seed)


@cache
def cases(name: str) -> list[Case]:
    """Return the model's spaces for all data that is long enough for it."""
    model, found = entry(name), []
    for (n_series, length), horizon in itertools.product(SHAPES, HORIZONS):
        data = facts(n_series, length, horizon)
        space = bounded_default(model, data)
        if input_sizes(space, horizon, model)[0] <= data.longest_input:
            found.append(Case(data, model.default_space(horizon, n_series), space))
    assert len(found) >= 0.75 * len(SHAPES) * len(HORIZONS)
    return found


def values(space: Space, name: str) -> Any:
    """Return what an argument may be, in a form that can be compared."""
    if name in space:
        return space[name]
    return repr(space.constants[name]) if name in space.constants else None


def sampled(space: Space, seed: int) -> dict[str, Any]:
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


def build(model: ModelEntry, data: DataFacts, config: dict[str, Any]) -> Any:
    jointly = {"n_series": data.n_series} if model.needs_n_series else {}
    return model.model_class(h=data.horizon, loss=MAE(), **QUIET, **jointly, **config)


# What holds for every model


@each_model
def test_every_input_fits_the_shortest_series(name: str) -> None:
    model = entry(name)
    for data, _, space in cases(name):
        sizes = input_sizes(space, data.horizon, model)
        assert 1 <= sizes[0] <= sizes[1] <= data.longest_input, (data, space.notes)


@each_model
def test_a_batch_takes_no_more_windows_than_there_are(name: str) -> None:
    model = entry(name)
    for data, _, space in cases(name):
        usual = space.constants.get("windows_batch_size", model.defaults["windows_batch_size"])
        largest = max(space["windows_batch_size"].grid()) if "windows_batch_size" in space else usual
        per_series = data.shortest - 2 * data.horizon - input_sizes(space, data.horizon, model)[0] + 1
        available = per_series if model.needs_n_series else per_series * data.n_series
        assert largest <= max(FEWEST_WINDOWS, available), (data, space.notes)


@each_model
def test_neither_the_resource_nor_the_seed_is_searched(name: str) -> None:
    for data, default, space in cases(name):
        assert {"max_steps", "random_seed"} <= {parameter.name for parameter in default.parameters}
        assert "max_steps" not in space
        assert "max_steps" not in space.constants
        assert "random_seed" not in space
        assert space.constants["random_seed"] == 1, data


@each_model
def test_the_models_own_default_can_be_encoded(name: str) -> None:
    defaults = entry(name).defaults
    for data, _, space in cases(name):
        for parameter in space.parameters:
            if (default := defaults.get(parameter.name)) is None:
                continue
            stored = parameter.encode(default)
            assert parameter.distribution._contains(parameter.distribution.to_internal_repr(stored)), data
            if not parameter.is_ordered:
                assert parameter.decode(stored) == default, data


@each_model
def test_what_has_changed_has_a_reason_and_nothing_else_has_one(name: str) -> None:
    for data, default, space in cases(name):
        arguments = {parameter.name for parameter in (*default.parameters, *space.parameters)} | {
            *default.constants,
            *space.constants,
        }
        changed = {argument for argument in arguments if values(default, argument) != values(space, argument)}
        if name in ("DilatedRNN", "GRU", "LSTM", "RNN", "TCN") and "input_size" in space:
            positive = [size for size in default["input_size"].grid() if size > 0]
            if set(positive) < set(space["input_size"].grid()):
                changed -= {"input_size"}  # its negative size becomes three horizons
        reasons = {note.split()[0] for note in space.notes}
        assert changed - SILENT <= reasons, (data, space.notes)
        assert reasons <= changed, (data, space.notes)


@each_model
def test_one_name_stands_for_no_scaling(name: str) -> None:
    for _, default, space in cases(name):
        if "scaler_type" in default and None in default["scaler_type"].grid():
            assert sorted(space["scaler_type"].grid()) == ["identity", "robust", "standard"]


@each_model
def test_bounding_again_changes_nothing(name: str) -> None:
    for data, _, space in cases(name):
        again = bounded(space, data, entry(name), seed=1)
        assert (again.parameters, again.constants) == (space.parameters, space.constants), data


@each_installed_model
def test_neuralforecast_builds_every_configuration(name: str) -> None:
    for seed, (data, _, space) in enumerate(cases(name)[:: 3 if name in HEAVY else 1]):
        config = sampled(space, seed)
        assert build(entry(name), data, config).h in (data.horizon, 1), config  # DeepAR trains one step ahead


# The rules for short inputs: these models cannot train with the inputs of their default spaces


@pytest.mark.parametrize(
    ("name", "horizon"),
    [
        ("Autoformer", 1), ("Autoformer", 3), ("BiTCN", 1), ("FEDformer", 1), ("Informer", 1), ("NBEATS", 1),
        ("NBEATSx", 1), ("TimeMixer", 1), ("TimeMixer", 7), ("TimeXer", 1), ("TimeXer", 12), ("TimesNet", 1),
        ("TimesNet", 2), ("VanillaTransformer", 1),
    ],
)  # fmt: skip
def test_the_shortest_input_can_be_trained_on(name: str, horizon: int) -> None:
    model, data = entry(name), facts(1, 60, horizon)
    space = bounded_default(model, data)
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(60), "y": np.sin(np.arange(60.0))})
    dataset, *_ = TimeSeriesDataset.from_df(frame)
    config = sampled(space, seed=0) | {"input_size": input_sizes(space, horizon, model)[0]}
    small = {"hidden_size": 16, "conv_hidden_size": 8, "num_kernels": 1, "d_model": 16, "down_sampling_layers": 2}
    config |= {
        argument: value for argument, value in small.items() if argument in model.defaults and name != "FEDformer"
    }
    trained = build(model, data, config | {"max_steps": 1, "val_check_steps": 1}).fit(dataset, val_size=horizon)
    assert trained is None or np.isfinite(float(trained.metrics["ptl/val_loss"]))


# Rule by rule


def only(space: Space, argument: str) -> list[str]:
    return [note for note in space.notes if note.startswith(f"{argument} ")]


def test_input_sizes_end_where_the_shortest_series_does() -> None:
    space = bounded_default(entry("NHITS"), facts(1, 60, 12))
    assert space["input_size"].grid() == [12, 24, 36]
    assert only(space, "input_size") == [
        "input_size ends at 36 instead of 60: the shortest series has 60 observations, of which validation takes 12 "
        "and the horizon 12"
    ]


def test_an_input_that_alone_fits_is_fixed() -> None:
    space = bounded_default(entry("NHITS"), facts(1, 60, 15))
    assert space["input_size"].grid() == [15, 30]
    assert bounded_default(entry("NHITS"), facts(1, 60, 19)).constants["input_size"] == 19


def test_series_may_be_shorter_where_they_are_padded() -> None:
    data = facts(1, 60, 12)
    space = override(entry("NHITS").default_space(12, 1), {"start_padding_enabled": True}, entry("NHITS").arguments)
    assert bounded(space, data, entry("NHITS"), 1, ["start_padding_enabled"])["input_size"].grid() == [
        12,
        24,
        36,
        48,
        60,
    ]


def test_a_negative_input_means_three_horizons() -> None:
    space = bounded_default(entry("GRU"), facts(8, 1000, 12))
    assert space["input_size"].grid() == [36, 48, 192, 768]
    assert only(space, "input_size") == []


@pytest.mark.parametrize(
    ("name", "horizon", "sizes"),
    [
        ("NHITS", 1, [9, 18, 27, 36, 45]),
        ("NHITS", 2, [8, 10]),
        ("NHITS", 3, [9, 12, 15]),
        ("NHITS", 5, [5, 10, 15, 20, 25]),
        ("PatchTST", 2, [8, 16, 24]),
        ("GRU", 1, [16, 64]),
        ("TimeMixer", 7, [8, 16, 24, 28, 36]),
        ("TimeMixer", 12, [12, 24, 36, 48, 60]),
    ],
)
def test_inputs_are_never_too_short_for_the_model(name: str, horizon: int, sizes: list[int]) -> None:
    space = bounded_default(entry(name), facts(8, 1000, horizon))
    assert space["input_size"].grid() == sizes
    assert min(sizes) + horizon >= SHORTEST_WINDOW


def test_a_horizon_of_one_has_one_step_size() -> None:
    space = bounded_default(entry("NHITS"), facts(1, 144, 1))
    assert space.constants["step_size"] == 1
    assert only(space, "step_size") == []


@pytest.mark.parametrize("name", ["DilatedRNN", "GRU", "LSTM", "RNN", "TCN"])
def test_what_neuralforecast_no_longer_uses_is_not_searched(name: str) -> None:
    space = bounded_default(entry(name), facts(1, 144, 12))
    assert values(space, "context_size") is None
    assert only(space, "context_size") == ["context_size is not searched: neuralforecast no longer uses it"]


@pytest.mark.parametrize("name", ["DilatedRNN", "GRU", "LSTM", "RNN", "TCN"])
def test_neuralforecast_indeed_does_not_use_it(name: str) -> None:
    weights = []
    for size in (5, 50):
        model = build(entry(name), facts(1, 144, 12), {"input_size": 24, "context_size": size, "random_seed": 1})
        weights.append({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("horizon", "stacks"), [(1, ["identity"] * 3), (2, None)])
def test_a_horizon_of_one_has_no_trend(horizon: int, stacks: list[str] | None) -> None:
    space = bounded_default(entry("NBEATS"), facts(1, 144, horizon))
    assert space.constants.get("stack_types") == stacks
    assert len(only(space, "stack_types")) == (stacks is not None)


def test_patches_are_no_longer_than_the_shortest_input() -> None:
    assert bounded_default(entry("TimeXer"), facts(8, 1000, 12)).constants["patch_len"] == 12
    assert "patch_len" not in bounded_default(entry("TimeXer"), facts(8, 1000, 24)).constants


@pytest.mark.parametrize(
    ("n_series", "sizes"), [(32, None), (33, [32, 64]), (100, [32, 64, 128]), (129, [32, 64, 128, 256])]
)
def test_a_batch_holds_no_more_series_than_there_are(n_series: int, sizes: list[int] | None) -> None:
    space = bounded_default(entry("NHITS"), facts(n_series, 1000, 12))
    assert (space["batch_size"].grid() if sizes else space.constants["batch_size"]) == (sizes or 32)
    assert len(only(space, "batch_size")) == (sizes != [32, 64, 128, 256])


def test_a_multivariate_model_has_no_batches_of_series() -> None:
    space = bounded_default(entry("TSMixer"), facts(100, 1000, 12))
    assert space.constants["batch_size"] == 32
    assert only(space, "batch_size") == ["batch_size is not searched: TSMixer takes all series at once"]


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((1, 60), [16]), ((1, 144), [16, 32, 64]), ((1, 400), [32, 64, 128]), ((8, 1000), [32, 64, 128])],
)
def test_windows_are_drawn_once(shape: tuple[int, int], sizes: list[int]) -> None:
    space = bounded_default(entry("NHITS"), facts(*shape, 12))
    found = (
        space["windows_batch_size"].grid() if "windows_batch_size" in space else [space.constants["windows_batch_size"]]
    )
    assert found == sizes
    assert len(only(space, "windows_batch_size")) == (sizes != [128, 256, 512, 1024])


def test_windows_of_which_the_space_says_nothing_are_searched() -> None:
    space = bounded_default(entry("GRU"), facts(1, 144, 12))
    assert space["windows_batch_size"].grid() == [16, 32, 64]
    assert only(space, "windows_batch_size") == [
        "windows_batch_size spans 16 to 64 instead of 128: the time of a step is proportional to it"
    ]


def test_windows_that_are_not_searched_are_bounded_too() -> None:
    space = bounded_default(entry("GRU"), facts(1, 80, 12))
    assert space.constants["windows_batch_size"] == 16
    assert only(space, "windows_batch_size") == [
        "windows_batch_size is 16 instead of 128: a batch of series has about 21 training windows; more would be drawn "
        "twice"
    ]


def test_the_default_joins_choices_that_lack_it() -> None:
    space = bounded_default(entry("NHITS"), facts(1, 144, 12))
    assert [4, 2, 1] in space["n_freq_downsample"].grid()
    assert only(space, "n_freq_downsample") == ["n_freq_downsample also has the model's default [4, 2, 1]"]


def test_the_seed_is_the_studys() -> None:
    space = bounded_default(entry("NHITS"), facts(1, 144, 12), seed=7)
    assert space.constants["random_seed"] == 7
    assert only(space, "random_seed") == ["random_seed is fixed at 7: tuning the seed would overfit to chance"]


@pytest.mark.parametrize(
    "asked",
    [
        {"max_steps": [10, 20]},
        {"random_seed": [1, 2]},
        {"scaler_type": [None, "revin"]},
        {"input_size": [1, 500]},
        {"batch_size": [256, 512]},
        {"windows_batch_size": [4096, 8192]},
        {"n_freq_downsample": [[168, 24, 1], [24, 12, 1]]},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_the_user_wrote_is_not_touched(asked: dict[str, Any]) -> None:
    model, data = entry("NHITS"), facts(1, 60, 12)
    written = override(model.default_space(12, 1), asked, model.arguments)
    space = bounded(written, data, model, 1, asked)
    name = next(iter(asked))
    assert space[name] == written[name]
    assert only(space, name) == []


def test_rules_look_at_what_the_user_wrote() -> None:
    model, data = entry("NHITS"), facts(1, 400, 12)
    written = override(model.default_space(12, 1), {"input_size": 340}, model.arguments)
    assert bounded(written, data, model, 1, ["input_size"])["windows_batch_size"].grid() == [16, 32]
