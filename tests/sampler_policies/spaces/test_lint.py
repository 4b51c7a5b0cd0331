"""Likely mistakes in valid spaces."""

from __future__ import annotations

from typing import Any

import pytest

from castpool.sampler_policies.spaces.lint import lint
from castpool.sampler_policies.spaces.overrides import override
from castpool.sampler_policies.spaces.space import Space

KNOWN = [f"p{number}" for number in range(30)] + ["learning_rate", "weight_decay", "random_seed", "size", "dropout"]


def warnings(trials: int = 100, **asked: Any) -> list[str]:
    return lint(override(Space(()), asked, KNOWN), asked, trials)


def test_a_good_space_is_left_in_peace() -> None:
    assert not warnings(
        learning_rate={"low": 1e-4, "high": 1e-2, "log": True},
        size=[32, 64, 128],
        dropout={"low": 0.0, "high": 0.5},
        p1=["relu", "gelu", "tanh"],
        p2=[[1, 2], [3, 4], [5, 6]],
    )


@pytest.mark.parametrize(
    ("asked", "warning"),
    [
        ({"learning_rate": {"low": 1e-4, "high": 1e-1}}, "learning_rate has a linear scale from 0.0001 to 0.1"),
        ({"weight_decay": {"low": 0.0, "high": 0.1}}, "write {low: 0.0001, high: 0.1, log: true}"),
        ({"size": [64]}, "size has one value, 64: it is not searched"),
        ({"size": {"low": 3, "high": 3}}, "size has one value, 3: it is not searched"),
        ({"random_seed": {"low": 1, "high": 200}}, "random_seed is searched, which overfits to chance"),
        ({"size": ["16", "128", "64"]}, "size has numbers as text, so samplers ignore their order: write [16.0, 64"),
        ({"size": [[16], [32], [64]]}, "size has lists of one number each"),
        ({"size": [1, 2, 3], "p1": ["a", "b"]}, "the space has 6 points, so 94 of 100 trials repeat one"),
    ],
)
def test_what_looks_wrong_is_said_with_what_to_write(asked: dict[str, Any], warning: str) -> None:
    found = warnings(**asked)
    assert any(warning in sentence for sentence in found), found


@pytest.mark.parametrize("asked", [{"size": {"value": 64}}, {"size": 64}, {"learning_rate": 1e-3}])
def test_what_was_fixed_on_purpose_is_no_mistake(asked: dict[str, Any]) -> None:
    assert not warnings(trials=1, **asked)


def test_many_dimensions_need_many_trials() -> None:
    asked = {f"p{number}": {"low": 0.0, "high": 1.0} for number in range(13)}
    (warning,) = warnings(trials=64, **asked)
    assert warning == "13 parameters are many for 64 trials: fix some, or set at least 65 trials"
    assert not warnings(trials=65, **asked)
    asked.pop("p12")
    assert not warnings(trials=10, **asked)
