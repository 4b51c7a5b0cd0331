from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from castpool.sampler_policies.spaces.parameter import Parameter, from_choices

optuna.logging.set_verbosity(optuna.logging.WARNING)

patient = settings(deadline=None)  # the cores may be busy
integers = st.integers(-(2**62), 2**62)
floats = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)  # no -0.0, which equals 0.0
scalars = st.none() | st.booleans() | st.integers(-3, 3) | integers | floats | st.text(max_size=4)
# Few small numbers, so that 1, 1.0 and True often meet, and texts that look like lists.
alike = st.sampled_from([0, 0.0, False, 1, 1.0, True, "1", "true", [1], "[1]", [True], [1.0], None, "null"])
lists = st.lists(scalars, max_size=3)
element_kinds: list[st.SearchStrategy[Any]] = [integers, floats, integers | floats, alike, scalars | lists]
choice_lists = st.one_of([st.lists(kind, min_size=1, max_size=6) for kind in element_kinds])
powers = st.tuples(st.integers(0, 40), st.integers(2, 6)).map(
    lambda first_and_count: [2**power for power in range(first_and_count[0], sum(first_and_count))]
)


def text(value: Any) -> str:
    """Return a value with its type: 1, 1.0 and True are equal in Python and three choices to a model."""
    return json.dumps(value)


def sampled(parameter: Parameter, n: int = 200) -> list[Any]:
    """Return what the model gets in ``n`` trials of a study, after checking that the study remembers the same."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = []
    for _ in range(n):
        trial = study.ask()
        values.append(parameter.suggest(trial))
        assert text(parameter.decode(trial.params[parameter.label])) == text(values[-1])
    return values


@patient
@given(choice_lists)
def test_every_choice_survives_encoding_with_its_type(choices: list[Any]) -> None:
    parameter = from_choices("size", choices)
    for choice in choices:
        assert text(parameter.decode(parameter.encode(choice))) == text(choice)


@settings(patient, max_examples=30)
@given(choice_lists)
def test_a_study_samples_nothing_but_the_choices(choices: list[Any]) -> None:
    assert {text(value) for value in sampled(from_choices("size", choices))} <= {text(choice) for choice in choices}


@pytest.mark.parametrize(
    "choices",
    [
        [1, True, 1.0],
        [0, False, None, "0"],
        [[1, True], [1.0, 1], [True, True]],
        ["[1]", [1]],
        [32, 64, 128],
        [3, 5, 11],
        [0.5, 1, 2.0],
        ["relu", "tanh"],
        [{"lr": 1}, {"lr": 2}],
    ],
    ids=str,
)
def test_a_study_samples_all_choices(choices: list[Any]) -> None:
    assert {text(value) for value in sampled(from_choices("size", choices))} == {text(choice) for choice in choices}


@patient
@given(choice_lists)
def test_the_way_through_json_changes_nothing(choices: list[Any]) -> None:
    parameter = from_choices("size", choices)
    restored = Parameter.from_json(json.loads(json.dumps(parameter.to_json())))
    assert restored == parameter
    assert text(restored.grid()) == text(parameter.grid())


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("lr", "float", FloatDistribution(1e-4, 1e-1, log=True)),
        Parameter("dropout", "float", FloatDistribution(0.1, 0.7, step=0.2)),
        Parameter("steps", "int", IntDistribution(100, 1000, log=True), quantum=100),
        Parameter("lr", "float", FloatDistribution(0.001, 0.1, log=True), quantum=0.0005),
    ],
    ids=str,
)
def test_a_range_comes_back_from_json_as_it_was(parameter: Parameter) -> None:
    assert Parameter.from_json(json.loads(json.dumps(parameter.to_json()))) == parameter


@patient
@given(st.lists(integers | floats, min_size=1, max_size=6))
def test_numbers_always_have_an_order(choices: list[float]) -> None:
    assert from_choices("size", choices).is_ordered


@patient
@given(powers)
def test_powers_of_two_are_searched_by_their_logarithm(choices: list[int]) -> None:
    parameter = from_choices("size", list(reversed(choices)))
    if choices == [1, 2]:  # neighbours, which need no logarithm
        assert parameter == Parameter("size", "int", IntDistribution(1, 2))
    else:
        low, high = choices[0].bit_length() - 1, choices[-1].bit_length() - 1
        assert parameter == Parameter("size", "power", IntDistribution(low, high))
    assert parameter.grid() == choices


@patient
@given(st.integers(-50, 50), st.integers(1, 50), st.integers(2, 8))
def test_an_even_grid_of_integers_is_searched_as_it_is(low: int, step: int, size: int) -> None:
    choices = [low + step * rank for rank in range(size)]
    parameter = from_choices("size", choices)
    assert parameter.grid() == choices
    if parameter.kind != "power":  # 4, 8 is both
        assert parameter == Parameter("size", "int", IntDistribution(low, choices[-1], step=step))


@pytest.mark.parametrize(
    ("choices", "kind", "label"),
    [
        ([1, 2, 3], "int", "size"),
        ([12, 24, 36], "int", "size"),
        ([1, 12], "int", "size"),
        ([4, 16], "int", "size"),
        ([32, 64, 128], "power", "log2(size)"),
        ([1, 2, 4, 8], "power", "log2(size)"),
        ([128, 256], "power", "log2(size)"),
        ([5, 10, 50], "rank", "rank(size)"),
        ([-12, 48, 192, 768], "rank", "rank(size)"),
        ([0.25, 0.5, 1.0], "rank", "rank(size)"),
        ([1, 2.5], "rank", "rank(size)"),
        ([0, 10**17], "rank", "rank(size)"),  # Optuna keeps integers as floats, which do not hold this one
        ([True, False], "choice", "size"),
        ([None, 1, 2], "choice", "size"),
        (["LSTM", "GRU"], "choice", "size"),
        ([[1, 2], [4, 8]], "choice", "size"),
    ],
    ids=str,
)
def test_the_kind_and_with_it_the_label_follow_from_the_choices(choices: list[Any], kind: str, label: str) -> None:
    parameter = from_choices("size", choices)
    assert (parameter.kind, parameter.label) == (kind, label)


@pytest.mark.parametrize(
    ("choices", "left"),
    [
        ([None, "identity", "identity"], [None, "identity"]),
        ([3, 1, 3, 2], [1, 2, 3]),
        ([[1], [1], [2]], [[1], [2]]),
        ([1, True, 1, True], [1, True]),
        ([(1, 2), [1, 2]], [[1, 2]]),
        ([7, 7], [7]),
    ],
    ids=str,
)
def test_a_choice_written_twice_is_one_choice(choices: list[Any], left: list[Any]) -> None:
    assert text(from_choices("size", choices).grid()) == text(left)


def test_a_list_is_stored_by_its_text_and_a_name_as_itself() -> None:
    assert from_choices("size", ["a", [1, 2]]).distribution == CategoricalDistribution(["a", "[1, 2]"])


def test_choices_that_optuna_takes_for_equal_are_all_stored_by_their_text() -> None:
    assert from_choices("size", [True, 1, "a"]).distribution == CategoricalDistribution(["true", "1", '"a"'])


@pytest.mark.parametrize(
    ("parameter", "value", "nearest"),
    [
        (from_choices("power", [32, 64, 128]), 1024, 128),
        (from_choices("power", [32, 64, 128]), 1, 32),
        (from_choices("power", [32, 64, 128]), 100, 128),
        (from_choices("grid", [12, 24, 36]), 200, 36),
        (from_choices("grid", [12, 24, 36]), -1, 12),
        (from_choices("grid", [12, 24, 36]), 29, 24),
        (from_choices("grid", [12, 24, 36]), 24.4, 24),
        (from_choices("rank", [5, 10, 50]), 29, 10),
        (from_choices("rank", [5, 10, 50]), 1000, 50),
        (Parameter("float", "float", FloatDistribution(0.0, 0.5)), 0.9, 0.5),
        (Parameter("float", "float", FloatDistribution(0.0, 0.5)), 0.3, 0.3),
        (Parameter("step", "float", FloatDistribution(0.1, 0.7, step=0.2)), 0.42, 0.5),
        (Parameter("log", "int", IntDistribution(1, 100, log=True)), 0, 1),
        (Parameter("quantum", "int", IntDistribution(100, 1000, log=True), quantum=100), 449, 400),
        (Parameter("quantum", "int", IntDistribution(100, 1000, log=True), quantum=100), 5000, 1000),
    ],
)
def test_a_number_that_the_space_lacks_becomes_the_nearest(parameter: Parameter, value: float, nearest: float) -> None:
    stored = parameter.encode(value)
    assert parameter.distribution._contains(parameter.distribution.to_internal_repr(stored))
    assert parameter.decode(stored) == nearest


@pytest.mark.parametrize("value", ["c", True, None, [3]])
def test_an_unordered_choice_that_the_space_lacks_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not among"):
        from_choices("size", ["a", "b", 1]).encode(value)


@pytest.mark.parametrize("value", ["12", None, [12]])
def test_what_is_no_number_has_no_nearest_one(value: object) -> None:
    with pytest.raises(ValueError, match="not a number"):
        from_choices("size", [12, 24]).encode(value)


def test_a_quantised_range_yields_multiples_only() -> None:
    parameter = Parameter("size", "float", FloatDistribution(0.001, 0.01, log=True), quantum=0.001)
    assert set(sampled(parameter, 500)) == {0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01}


def test_steps_of_floats_come_without_rounding_errors() -> None:
    assert set(sampled(Parameter("size", "float", FloatDistribution(0.1, 0.7, step=0.1)))) == {
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parameter", "extremes"),
    [
        (from_choices("power", [128, 32, 64]), [32, 128]),
        (from_choices("rank", [50, 5, 10]), [5, 50]),
        (from_choices("choice", ["b", None, "a"]), ["b", None, "a"]),
        (Parameter("huge", "int", IntDistribution(1, 10**12)), [1, 10**12]),  # not by listing what lies between
        (Parameter("float", "float", FloatDistribution(0.1, 0.5)), [0.1, 0.5]),
    ],
    ids=lambda case: case.name if isinstance(case, Parameter) else str(case),
)
def test_extremes_are_the_ends_of_an_order_or_all_choices(parameter: Parameter, extremes: list[Any]) -> None:
    assert parameter.extremes() == extremes


def test_a_quantised_grid_lists_each_value_once() -> None:
    assert Parameter("size", "int", IntDistribution(10, 30, log=True), quantum=10).grid() == [10, 20, 30]


def test_a_float_range_has_no_grid() -> None:
    assert Parameter("size", "float", FloatDistribution(0.0, 1.0)).grid() == []
