"""Spaces in which trials differ in what they sample."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.overrides import override
from castpool.sampler_policies.spaces.space import Space

KNOWN = ("mlp_units", "dropout", "activation", "hidden_size", "num_layers")
ASKED: dict[str, Any] = {
    "hidden_size": {"repeat": "_n_layers", "choices": [16, 32, 64]},
    "_n_layers": {"low": 1, "high": 3},
    "activation": ["relu", "gelu", "selu"],
    "dropout": {"when": {"activation": ["relu", "gelu"]}, "low": 0.0, "high": 0.5},
}


def space(**asked: Any) -> Space:
    return override(Space((), {"num_layers": 2}), asked, KNOWN, {"dropout": 0.0})


def sampled(searched: Space, seed: int, n: int = 60) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return configurations with the parameters that Optuna holds for them."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    found = []
    for _ in range(n):
        trial = study.ask()
        found.append((searched.suggest(trial), trial.params))
    return found


def test_a_list_is_as_long_as_its_helper_says_and_the_model_never_sees_the_helper() -> None:
    for config, stored in sampled(space(**ASKED), seed=1):
        assert len(config["hidden_size"]) == stored["_n_layers"]
        assert set(config["hidden_size"]) <= {16, 32, 64}
        assert "_n_layers" not in config
        assert {name for name in stored if name.startswith("log2(hidden_size)")} == {
            f"log2(hidden_size)[{index}]" for index in range(stored["_n_layers"])
        }


def test_a_condition_decides_whether_there_is_a_parameter() -> None:
    seen = set()
    for config, stored in sampled(space(**ASKED), seed=2):
        assert ("dropout" in config) == ("dropout" in stored) == (config["activation"] != "selu")
        seen.add("dropout" in config)
    assert seen == {True, False}


def test_a_condition_may_be_on_a_fixed_argument_and_may_never_hold() -> None:
    held = space(dropout={"when": {"num_layers": 2}, "value": 0.1})
    assert all(config["dropout"] == 0.1 for config, _ in sampled(held, 1, 3))
    never = space(dropout={"when": {"num_layers": [3, 4]}, "value": 0.1})
    assert all("dropout" not in config for config, _ in sampled(never, 1, 3))


@given(st.integers(0, 10**6))
def test_what_is_stored_says_the_same_configuration_again(seed: int) -> None:
    searched = space(**ASKED)
    kept = Space.from_json(json.loads(json.dumps(searched.to_json())))
    assert kept.to_json() == searched.to_json()
    for config, stored in sampled(searched, seed, 5):
        assert kept.decode(stored) == config
        assert {name: value for name, value in stored.items() if name != "_n_layers"} == searched.encode(config)


def test_policies_know_that_trials_differ() -> None:
    assert space(**ASKED).facts.branches
    assert space(**ASKED).distributions is None
    assert space(**ASKED).facts.n_points is None
    assert not space(activation=["relu", "gelu"]).facts.branches


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"dropout": {"when": {"activaton": "relu"}, "value": 0.1}, "activation": ["relu", "x"]},
            "did you mean 'activ",
        ),
        ({"hidden_size": {"repeat": "layers", "choices": [1]}}, "space.hidden_size.repeat: got 'layers'; it names no"),
        ({"hidden_size": {"repeat": "activation", "choices": [1]}, "activation": ["a", "b"]}, "a whole number of at"),
        ({"hidden_size": {"repeat": 3, "choices": [1]}}, "write the name of the argument with the number of entries"),
        ({"dropout": {"when": "always", "value": 0.1}}, "space.dropout.when: got 'always'; write it as {other: value}"),
        (
            {
                "dropout": {"when": {"activation": "a"}, "value": 0.1},
                "activation": {"when": {"dropout": 0.1}, "choices": ["a", "b"]},
            },
            "write no parameters that depend on each other in a circle",
        ),
    ],
)
def test_what_names_nothing_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        space(**asked)
    assert sentence in str(caught.value)
