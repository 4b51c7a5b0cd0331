from __future__ import annotations

import json
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.sample import Categorical

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.overrides import override
from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.ray_domains import from_ray
from castpool.sampler_policies.spaces.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

RANGES: list[tuple[Any, Parameter]] = [
    (tune.randint(1, 5), Parameter("size", "int", IntDistribution(1, 4))),
    (tune.randint(-3, 3), Parameter("size", "int", IntDistribution(-3, 2))),
    (tune.lograndint(1, 100), Parameter("size", "int", IntDistribution(1, 99, log=True))),
    (tune.qrandint(10, 50, 10), Parameter("size", "int", IntDistribution(10, 50, step=10))),
    (tune.qrandint(5, 32, 10), Parameter("size", "int", IntDistribution(10, 30, step=10))),
    (tune.qrandint(1, 5, 1), Parameter("size", "int", IntDistribution(1, 4))),
    (tune.qlograndint(10, 95, 10), Parameter("size", "int", IntDistribution(10, 90, log=True), quantum=10)),
    (tune.uniform(0.0, 0.99), Parameter("size", "float", FloatDistribution(0.0, 0.99))),
    (tune.loguniform(1e-4, 1e-1), Parameter("size", "float", FloatDistribution(1e-4, 1e-1, log=True))),
    (tune.quniform(500, 1500, 100), Parameter("size", "int", IntDistribution(500, 1500, step=100))),
    (tune.quniform(1, 5, 1), Parameter("size", "int", IntDistribution(1, 5))),
    (tune.quniform(0, 0.9, 0.3), Parameter("size", "float", FloatDistribution(0.0, 0.9, step=0.3), quantum=0.3)),
    (tune.quniform(0.2, 0.6, 0.1), Parameter("size", "float", FloatDistribution(0.2, 0.6, step=0.1), quantum=0.1)),
    (tune.qloguniform(100, 1000, 100), Parameter("size", "int", IntDistribution(100, 1000, log=True), quantum=100)),
    (
        tune.qloguniform(0.0015, 0.01, 0.0005),
        Parameter("size", "float", FloatDistribution(0.0015, 0.01, log=True), quantum=0.0005),
    ),
]
CHOICES = [[12, 24, 36], [1, 12], [32, 64, 128], [0.1, 0.5], [None, "robust"], [[2, 2, 1], [1, 1, 1]], [True, False]]
each_range = pytest.mark.parametrize(("domain", "parameter"), RANGES, ids=lambda case: getattr(case, "kind", None))


def sampled(parameter: Parameter, n: int = 300) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [parameter.suggest(study.ask()) for _ in range(n)]


def refusal(overrides: dict[str, Any], defaults: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        override(BASE, overrides, KNOWN, defaults)
    return str(caught.value)


# Ray's domains


@each_range
def test_a_ray_range_becomes_the_distribution_of_the_same_values(domain: Any, parameter: Parameter) -> None:
    assert from_ray({"size": domain}) == Space((parameter,))


@each_range
def test_what_a_study_samples_is_valid_to_ray(domain: Any, parameter: Parameter) -> None:
    values = sampled(from_ray({"size": domain})["size"])
    assert len(set(values)) > 2
    assert [value for value in values if not domain.is_valid(value)] == []


@each_range
def test_both_ends_are_what_ray_reaches(domain: Any, parameter: Parameter) -> None:
    low, high = from_ray({"size": domain})["size"].extremes()
    drawn = [domain.sample() for _ in range(3000)]
    slack = 0.02 * (domain.upper - domain.lower)  # a range of floats comes near its ends only
    assert low <= min(drawn) <= low + slack or low == pytest.approx(min(drawn))
    assert high - slack <= max(drawn) <= high or high == pytest.approx(max(drawn))


@pytest.mark.parametrize("choices", CHOICES, ids=str)
@pytest.mark.parametrize("make", [tune.choice, tune.grid_search, Categorical])
def test_choices_stay_choices(make: Any, choices: list[Any]) -> None:
    assert from_ray({"size": make(choices)}) == Space((from_choices("size", choices),))


@pytest.mark.parametrize(
    "domain",
    [tune.choice([7]), tune.grid_search([7]), tune.randint(7, 8), tune.qrandint(5, 9, 7), tune.quniform(7, 7, 7)],
)
def test_a_domain_of_one_value_is_a_constant(domain: Any) -> None:
    assert from_ray({"size": domain}) == Space((), {"size": 7})


def test_numbers_of_numpy_become_those_of_python() -> None:
    space = from_ray({"size": tune.choice(list(np.array([8, 16]))), "rate": np.float64(0.5), "count": np.int64(3)})
    assert json.dumps(space.to_json()["constants"]) == '{"rate": 0.5, "count": 3}'
    assert space["size"] == from_choices("size", [8, 16])


@pytest.mark.parametrize("domain", [tune.randn(0, 1), tune.qrandn(0, 1, 0.1), tune.sample_from(lambda _: 1)])
def test_a_domain_that_optuna_lacks_is_refused(domain: Any) -> None:
    with pytest.raises(InputError, match=r"^space\.size: got .*; write choices, a range \(low, high\) or one value"):
        from_ray({"size": domain})


def test_a_quantised_range_without_a_multiple_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^space\.size: got 11 to 19 in steps of 10; write a range that contains a multiple"
    ):
        from_ray({"size": tune.qrandint(11, 19, 10)})


@pytest.mark.parametrize(
    "domain",
    [
        object(),
        tune.choice([int, float]),
        {"weight_decay": tune.uniform(0, 1)},
        float("nan"),
        tune.choice([float("inf"), 1.0]),
    ],
)
def test_what_a_storage_cannot_keep_is_refused(domain: Any) -> None:
    with pytest.raises(InputError, match=r"^space\.size: .*write finite numbers, names, flags or lists of them"):
        from_ray({"size": domain})


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="write at least one choice"):
        from_ray({"size": tune.choice([])})


# What users write

KNOWN = ("learning_rate", "input_size", "dropout", "pools", "scaler", "kwargs")
BASE = Space((from_choices("input_size", [12, 24]), from_choices("pools", [[1], [2]])), {"dropout": 0.0})


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ([12, 36, 60], from_choices("input_size", [12, 36, 60])),
        ((12, 36), from_choices("input_size", [12, 36])),
        ({"choices": [12, 36]}, from_choices("input_size", [12, 36])),
        ({"low": 8, "high": 64}, Parameter("input_size", "int", IntDistribution(8, 64))),
        ({"low": 8, "high": 64, "log": True}, Parameter("input_size", "int", IntDistribution(8, 64, log=True))),
        ({"low": 8, "high": 64, "step": 8}, Parameter("input_size", "int", IntDistribution(8, 64, step=8))),
        ({"low": 8, "high": 70, "step": 8}, Parameter("input_size", "int", IntDistribution(8, 64, step=8))),
        ({"low": 0.1, "high": 1}, Parameter("input_size", "float", FloatDistribution(0.1, 1.0))),
        ({"low": 0.5, "high": 2, "log": True}, Parameter("input_size", "float", FloatDistribution(0.5, 2.0, log=True))),
        ({"low": 1, "high": 2, "step": 0.3}, Parameter("input_size", "float", FloatDistribution(1.0, 1.9, step=0.3))),
        ({"low": 1, "high": 2, "log": False}, Parameter("input_size", "int", IntDistribution(1, 2))),
    ],
    ids=str,
)
def test_a_list_or_a_range_is_searched_instead(given: Any, parameter: Parameter) -> None:
    space = override(BASE, {"input_size": given}, KNOWN)
    assert [searched for searched in space.parameters if searched.name == "input_size"] == [parameter]
    assert space["pools"] == BASE["pools"]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (48, 48),
        (None, None),
        ("auto", "auto"),
        (True, True),
        ({"value": 48}, 48),
        ({"value": [1, 2]}, [1, 2]),
        ({"value": {"fused": True}}, {"fused": True}),
        ([48], 48),
        ({"choices": [48]}, 48),
        ({"low": 48, "high": 48}, 48),
        ({"low": 48, "high": 50, "step": 5}, 48),
    ],
    ids=str,
)
def test_one_value_is_fixed_and_searched_no_more(given: Any, value: Any) -> None:
    space = override(BASE, {"input_size": given}, KNOWN)
    assert "input_size" not in space
    assert json.dumps(space.constants["input_size"]) == json.dumps(value)


def test_a_constant_can_be_searched() -> None:
    space = override(BASE, {"dropout": {"low": 0.0, "high": 0.5}}, KNOWN)
    assert space["dropout"].distribution == FloatDistribution(0.0, 0.5)
    assert "dropout" not in space.constants


def test_an_argument_that_the_space_had_not_is_added() -> None:
    assert override(BASE, {"scaler": ["robust", None]}, KNOWN)["scaler"].grid() == ["robust", None]


def test_no_overrides_change_nothing() -> None:
    assert override(BASE, {}, KNOWN) == BASE


def test_whole_numbers_are_fractions_where_the_default_is_one() -> None:
    space = override(BASE, {"dropout": {"low": 0, "high": 1}}, KNOWN, {"dropout": 0.0})
    assert space["dropout"].distribution == FloatDistribution(0.0, 1.0)


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"low": "1e-4", "high": "1E-2", "log": True}, FloatDistribution(1e-4, 1e-2, log=True)),
        (["1e-4", "2.5e-3"], from_choices("learning_rate", [1e-4, 2.5e-3]).distribution),
    ],
    ids=str,
)
def test_numbers_that_yaml_reads_as_text_are_numbers(given: Any, parameter: Any) -> None:
    assert override(BASE, {"learning_rate": given}, KNOWN)["learning_rate"].distribution == parameter


@pytest.mark.parametrize("name", ["1e", "e5", "relu", "1e-4x"])
def test_other_text_stays_text(name: str) -> None:
    assert override(BASE, {"scaler": name}, KNOWN).constants["scaler"] == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("learningrate", "space: got 'learningrate'; the model takes no such argument: did you mean 'learning_rate'?"),
        (7, "space: got 7; the model takes no such argument: write one of dropout, input_size, kwargs, "),
    ],
)
def test_an_argument_that_the_model_does_not_take_is_refused(name: Any, sentence: str) -> None:
    assert refusal({name: 1}).startswith(sentence)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"low": 1}, "write numbers for low and high"),
        ({"high": 1}, "write numbers for low and high"),
        ({}, "write numbers for low and high"),
        ({"low": "a", "high": 1}, "write numbers for low and high"),
        ({"low": True, "high": 2}, "write numbers for low and high"),
        ({"low": 1, "high": 2, "step": "wide"}, "write numbers for low and high"),
        ({"low": 0.0, "high": float("inf")}, "write numbers for low and high"),
        ({"low": float("nan"), "high": 1.0}, "write numbers for low and high"),
        ({"low": 2, "high": 1}, "write a low that is not above high"),
        ({"low": 0, "high": 1, "log": True}, "a log range needs low above 0 and takes no step"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "a log range needs low above 0 and takes no step"),
        ({"low": 1, "high": 9, "log": "no"}, "write log: true or leave it out"),
        ({"low": 1, "high": 9, "step": 0}, "write a step above 0"),
        ({"low": 1.0, "high": 9.0, "step": -1.0}, "write a step above 0"),
        ({"lo": 1, "high": 9}, "did you mean 'low'?"),
        ({"low": 1, "high": 9, "choices": [1]}, "write choices alone"),
        ({"choices": 5}, "write the choices as a list"),
        ({"choices": []}, "write at least one choice"),
        ([], "write at least one choice"),
        ([1.0, float("nan")], "write finite numbers"),
        ({"value": object}, "write finite numbers"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_range_and_no_choice_is_refused_in_a_sentence_of_its_own(given: Any, problem: str) -> None:
    message = refusal({"learning_rate": given})
    assert message.startswith("space.learning_rate: got ")
    assert problem in message


def test_one_list_where_the_model_takes_lists_is_not_taken_for_choices() -> None:
    assert refusal({"pools": [2, 2, 1]}, {"pools": [1, 1, 1]}) == (
        "space.pools: got [2, 2, 1]; each choice is a list: write [[2, 2, 1]], or {value: [2, 2, 1]} to fix this list."
    )
