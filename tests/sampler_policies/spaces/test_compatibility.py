"""Combinations that cannot work are refused with a remedy; neuralforecast fails with each of them."""

from __future__ import annotations

from typing import Any

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.plan import make_plan
from castpool.sampler_policies.spaces.model_catalogue import entry, names
from castpool.sampler_policies.user_request import UserRequest

DATA = DataFacts(n_series=3, shortest=200, longest=200, n_rows=600, horizon=12, val_size=12)


def sentence(model: str, horizon: int = 12, **space: Any) -> str:
    data = DataFacts(3, 200, 200, 600, horizon, horizon)
    with pytest.raises(InputError) as caught:
        make_plan(entry(model), data, UserRequest(trials=20, space=space))
    return str(caught.value)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("NHITS", {"scaler_type": ["minmx", "robust"]}, "space.scaler_type: got 'minmx'; did you mean 'minmax'?"),
    ("NHITS", {"dropout": 0.1}, "space: got 'dropout'; NHITS calls it dropout_prob_theta."),
    ("GRU", {"dropout_prob_theta": 0.1}, "space: got 'dropout_prob_theta'; GRU calls it encoder_dropout."),
    ("DLinear", {"dropout": [0.1, 0.2]}, "space: got 'dropout'; DLinear has no dropout: leave it out."),
    (
        "NHITS",
        {"encoder_n_layers": 2},
        "space: got 'encoder_n_layers'; only recurrent models take it, and",
    ),
    ("TFT", {"hidden_size": [64, 30]}, "space.hidden_size: got 30 for 4 heads; each head takes an even share"),
    ("PatchTST", {"n_heads": 5, "hidden_size": 64}, "space.hidden_size: got 64 for 5 heads; each head takes"),
    ("FEDformer", {"n_head": [4, 8]}, "space.n_head: got 4; FEDformer works with 8 heads only: leave it out."),
    ("TimeXer", {"patch_len": 40, "input_size": 24}, "space.patch_len: got 40; an input of 24 holds no such patch"),
    ("DLinear", {"moving_avg_window": [24, 25]}, "space.moving_avg_window: got 24; a centred window has odd length"),
    ("Autoformer", {"MovingAvg_window": 10}, "space.MovingAvg_window: got 10; a centred window has odd length: write"),
    ("NHITS", {"n_pool_kernel_size": [[2, 2], [4, 4, 4]]}, "space.n_pool_kernel_size: got [2, 2]; NHITS has 3 stacks"),
    ("NHITS", {"n_freq_downsample": {"value": [2, 1]}}, "space.n_freq_downsample: got [2, 1]; NHITS has 3 stacks"),
    ("TimeMixer", {"input_size": 30}, "space.input_size: got 30; TimeMixer pools its input down by 4: write multiples"),
    ("TimesNet", {"top_k": 50}, "space.top_k: got 50; input and horizon of "),
    ("NHITS", {"learning_rate": [0.0, 0.001]}, "space.learning_rate: got 0.0; write a number above 0"),
    ("NHITS", {"dropout_prob_theta": [0.1, 1.0]}, "space.dropout_prob_theta: got 1.0; it is the share of units"),
    ("MLP", {"hidden_size": [0, 64]}, "space.hidden_size: got 0; write whole numbers of at least 1."),
    ("MLP", {"num_layers": 2.5}, "space.num_layers: got 2.5; write whole numbers of at least 1."),
    ("NHITS", {"inputsize": 24}, "space: got 'inputsize'; NHITS takes no such argument: did you mean 'input_size'?"),
]


@pytest.mark.parametrize(("model", "space", "expected"), REFUSED, ids=lambda case: str(case)[:50])
def test_what_cannot_work_is_refused_with_a_remedy(model: str, space: dict[str, Any], expected: str) -> None:
    assert sentence(model, **space).startswith(expected)


def test_inputs_of_one_observation_are_refused() -> None:
    assert sentence("NHITS", horizon=1, input_size=[1, 4]).startswith("space.input_size: got 1; with a horizon of 1")
    assert sentence("TimesNet", horizon=4, input_size=4).startswith("space.input_size: got 4; TimesNet needs five")


@pytest.mark.parametrize(
    ("model", "space"),
    [
        ("TFT", {"hidden_size": [64, 128], "n_head": [4, 8]}),
        ("Autoformer", {"hidden_size": 30, "n_head": 4}),
        ("PatchTST", {"patch_len": 40, "input_size": 24}),
        ("DLinear", {"moving_avg_window": [11, 25, 51]}),
        ("NHITS", {"n_pool_kernel_size": [[2, 2, 1], [4, 4, 4]], "scaler_type": ["minmax1", "invariant"]}),
        ("MLP", {"dropout": 0.0} if "dropout" in entry("MLP").defaults else {"num_layers": [1, 2]}),
    ],
)
def test_what_works_is_not_refused(model: str, space: dict[str, Any]) -> None:
    assert make_plan(entry(model), DATA, UserRequest(trials=20, space=space)).decisions


@pytest.mark.parametrize("name", names())
def test_no_models_own_space_is_refused(name: str) -> None:
    assert make_plan(entry(name), DATA, UserRequest(trials=20)).decisions
