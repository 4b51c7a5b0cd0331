from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ray import tune

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import DataFacts, Limit
from castpool.sampler_policies.plan import Plan, make_plan, smallest_input
from castpool.sampler_policies.spaces.model_catalogue import entry, names
from castpool.sampler_policies.spaces.ray_domains import from_ray
from castpool.sampler_policies.user_request import UserRequest

NHITS, GRU = entry("NHITS"), entry("GRU")
# AirPassengers: 144 months of one series.
DATA = DataFacts(n_series=1, shortest=144, longest=144, n_rows=144, horizon=12, val_size=12)
REQUEST = UserRequest(trials=20, workers=4)


def plan(data: DataFacts = DATA, **request: Any) -> Plan:
    return make_plan(NHITS, data, replace(REQUEST, **request))


def refusal(data: DataFacts = DATA, **request: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan(data, **request)
    return str(caught.value)


def stored(made: Plan) -> str:
    return json.dumps(made.to_json(), sort_keys=True)


# What every plan is


@pytest.mark.parametrize("name", names())
def test_a_plan_comes_back_from_json_as_it_was(name: str) -> None:
    made = make_plan(entry(name), replace(DATA, n_series=3, n_rows=432), REQUEST)
    restored = Plan.from_json(json.loads(json.dumps(made.to_json())))
    assert restored == made
    assert stored(restored) == stored(made)


@pytest.mark.parametrize("name", names())
def test_the_same_input_gives_the_same_plan(name: str) -> None:
    data = replace(DATA, n_series=3, n_rows=432)
    assert stored(make_plan(entry(name), data, REQUEST)) == stored(make_plan(entry(name), data, REQUEST))


@pytest.mark.parametrize("name", names())
def test_the_defaults_are_a_trial_of_the_space(name: str) -> None:
    made = make_plan(entry(name), replace(DATA, n_series=3, n_rows=432), REQUEST)
    assert made.space is not None
    parameters = {parameter.label: parameter for parameter in made.space.parameters}
    assert set(made.default) == set(parameters)
    for label, value in made.default.items():
        distribution = parameters[label].distribution
        assert distribution._contains(distribution.to_internal_repr(value))


def test_every_subject_is_decided_with_a_reason() -> None:
    decisions = plan().decisions
    subjects = ["space", "max_steps", "val_check_steps", "patience", "sampler", "pruner"]
    assert [decision.subject for decision in decisions] == subjects
    assert all(decision.reason for decision in decisions)


def test_a_decision_is_found_by_its_subject() -> None:
    assert plan().decision("pruner").choice == "Hyperband"


def test_the_pruner_works_on_the_steps_decided_on() -> None:
    made = plan(max_steps=600, val_check_steps=20)
    assert (made.max_steps, made.val_check_steps) == (600, 20)
    assert made.decision("pruner").arguments["min_resource"] == 20
    assert made.decision("pruner").arguments["max_resource"] == 600


def test_the_default_trial_is_what_neuralforecast_would_do() -> None:
    made = plan()
    assert made.space is not None
    config = made.space.decode(made.default)
    assert config["input_size"] == 24
    assert config["n_pool_kernel_size"] == NHITS.defaults["n_pool_kernel_size"]
    assert config["n_freq_downsample"] == NHITS.defaults["n_freq_downsample"]
    assert config["learning_rate"] == NHITS.defaults["learning_rate"]
    assert config["scaler_type"] == NHITS.defaults["scaler_type"]


def test_the_default_input_of_a_recurrent_model_is_three_horizons() -> None:
    made = make_plan(GRU, DATA, REQUEST)
    assert made.space is not None
    assert made.space.decode(made.default)["input_size"] == 36


def test_a_default_that_the_users_choices_lack_is_left_to_the_sampler() -> None:
    assert "scaler_type" not in plan(space={"scaler_type": ["robust", "revin"]}).default


# The space


def test_the_reason_of_the_space_lists_what_was_changed() -> None:
    reason = plan().decision("space").reason
    assert reason.startswith("AutoNHITS's default, ordered choices as ordered numbers; ")
    assert "max_steps is not searched: it is the pruner's resource" in reason


def test_what_the_user_wrote_wins_over_bounds_and_is_said_to() -> None:
    made = plan(space={"windows_batch_size": [512, 1024], "learning_rate": 0.01})
    assert made.space is not None
    assert made.space["windows_batch_size"].grid() == [512, 1024]
    assert made.space.constants["learning_rate"] == 0.01
    reason = made.decision("space").reason
    assert reason.endswith("windows_batch_size is set by the user; learning_rate is set by the user")
    assert reason.count("windows_batch_size") == 1


def test_an_unknown_argument_is_refused() -> None:
    assert refusal(space={"inputsize": 1}) == (
        "space: got 'inputsize'; NHITS takes no such argument: did you mean 'input_size'?"
    )


@pytest.mark.parametrize("name", ["input_size", "batch_size", "step_size", "max_steps", "val_check_steps"])
@pytest.mark.parametrize("given", [[16, "many"], {"low": 0.5, "high": 9.5}, 12.5, True, None, [8, None]], ids=str)
def test_what_counts_something_is_a_whole_number(name: str, given: Any) -> None:
    message = refusal(space={name: given})
    assert message.startswith(f"space.{name}: got ")
    assert message.endswith("write whole numbers of at least 1.")


def test_what_an_input_is_pooled_down_by_is_a_whole_number() -> None:
    request = replace(REQUEST, space={"down_sampling_layers": "two"})
    with pytest.raises(InputError, match=r"^space\.down_sampling_layers: got 'two'; write whole numbers"):
        make_plan(entry("TimeMixer"), DATA, request)


def test_no_number_of_windows_means_all_there_are() -> None:
    made = plan(space={"windows_batch_size": None})
    assert made.space is not None
    assert made.space.constants["windows_batch_size"] is None


@pytest.mark.parametrize("name", ["batch_size", "step_size", "max_steps"])
def test_nothing_is_no_count(name: str) -> None:
    assert refusal(space={name: [0, 4]}) == f"space.{name}: got 0; write whole numbers of at least 1."


def test_an_input_that_does_not_fit_is_refused() -> None:
    assert refusal(space={"input_size": [24, 240]}) == (
        "space.input_size: got 240; the shortest series has 144 observations, of which validation takes 12 and the "
        "horizon 12: write sizes up to 120."
    )


def test_the_longest_input_that_fits_is_accepted() -> None:
    made = plan(space={"input_size": [24, 120]})
    assert made.space is not None
    assert made.space["input_size"].grid() == [24, 120]


def test_a_series_too_short_for_any_input_is_refused_by_its_horizon() -> None:
    data = replace(DATA, shortest=20, n_rows=20)
    assert refusal(data) == (
        "horizon: got 12; the shortest series has 20 observations, of which validation takes 12 and the horizon 12: "
        "write a shorter one, or leave that series out."
    )


def test_padded_series_take_any_input() -> None:
    made = plan(space={"input_size": 240, "start_padding_enabled": True})
    assert made.space is not None
    assert made.space.constants["input_size"] == 240


def test_a_range_of_a_million_is_no_list_of_a_million() -> None:
    made = plan(space={"max_steps": {"low": 1, "high": 10**12}, "random_seed": {"low": 1, "high": 10**12}})
    assert made.max_steps == 10**12


# Steps


def test_the_users_steps_win() -> None:
    assert plan(max_steps=77).max_steps == 77


@pytest.mark.parametrize(
    "given", [[300, 9000], {"low": 300, "high": 9000}, {"low": 300, "high": 9000, "log": True}], ids=str
)
def test_steps_that_the_user_puts_back_are_searched_and_the_longest_is_the_resource(given: Any) -> None:
    made = plan(space={"max_steps": given})
    assert made.space is not None
    assert made.space["max_steps"].extremes() == [300, 9000]
    assert made.max_steps == 9000
    assert made.decision("pruner").arguments["max_resource"] == 9000
    assert "max_steps is not searched" not in made.decision("space").reason


def test_steps_that_the_space_fixes_are_the_resource() -> None:
    made = plan(space={"max_steps": 300})
    assert made.space is not None
    assert made.max_steps == made.space.constants["max_steps"] == 300


def test_checks_that_the_space_fixes_are_taken() -> None:
    assert plan(space={"val_check_steps": 7}).val_check_steps == 7


@pytest.mark.parametrize("name", ["max_steps", "val_check_steps"])
def test_two_different_answers_are_refused(name: str) -> None:
    request: dict[str, Any] = {name: 100, "space": {name: 50}}
    assert refusal(**request) == f"{name}: got 100, and space.{name} too; write one of the two."


def test_the_same_answer_twice_is_one_answer() -> None:
    assert plan(max_steps=100, space={"max_steps": 100}).max_steps == 100


def test_checks_are_not_searched() -> None:
    assert refusal(space={"val_check_steps": [10, 20]}) == (
        "space.val_check_steps: got [10, 20]; write one number: trials are compared at checks."
    )


# A configuration that the user wrote


def test_a_configuration_is_taken_without_bounds() -> None:
    config = {"input_size": tune.choice([7, 11]), "windows_batch_size": tune.choice([512, 2048]), "batch_size": 999}
    made = plan(base_space=config)
    assert made.space is not None
    space = made.space.without("random_seed")
    assert (space.parameters, space.constants) == (from_ray(config).parameters, from_ray(config).constants)
    assert made.decision("space").reason.startswith("the user's configuration")


def test_the_studys_seed_trains_where_the_configuration_has_none() -> None:
    made = plan(base_space={"input_size": 24}, seed=9)
    assert made.space is not None
    assert made.space.constants == {"input_size": 24, "random_seed": 9}


def test_a_seed_in_the_configuration_stays() -> None:
    made = plan(base_space={"input_size": 24, "random_seed": tune.randint(1, 5)}, seed=9)
    assert made.space is not None
    assert made.space["random_seed"].extremes() == [1, 4]


def test_a_configuration_may_search_its_steps() -> None:
    made = plan(base_space={"input_size": 24, "max_steps": tune.choice([100, 4000])})
    assert made.space is not None
    assert "max_steps" in made.space
    assert made.max_steps == 4000


def test_steps_beside_a_configuration_win_over_those_in_it() -> None:
    made = plan(base_space={"input_size": 24, "max_steps": tune.choice([100, 4000])}, max_steps=50)
    assert made.space is not None
    assert "max_steps" not in made.space
    assert made.max_steps == 50


def test_a_configuration_with_an_unknown_argument_is_refused() -> None:
    assert refusal(base_space={"input_sizes": 24}) == (
        "config: got 'input_sizes'; NHITS takes no such argument: did you mean 'input_size'?"
    )


def test_an_input_in_a_configuration_must_fit_too() -> None:
    assert refusal(base_space={"input_size": tune.choice([24, 240])}).startswith("space.input_size: got 240; ")


def test_a_negative_input_in_a_configuration_must_fit_as_what_it_means() -> None:
    data = replace(DATA, shortest=50, n_rows=50)
    with pytest.raises(InputError, match=r"^space\.input_size: got 36; "):
        make_plan(GRU, data, replace(REQUEST, base_space={"input_size": -1}))


# A configuration that is a function


def test_a_function_has_no_space_to_store() -> None:
    made = make_plan(NHITS, DATA, REQUEST, space_is_function=True)
    assert (made.space, made.default) == (None, {})
    assert made.decision("space").choice == "function"
    assert made.decision("sampler").arguments["group"]
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_function_and_overrides_do_not_go_together() -> None:
    with pytest.raises(InputError, match=r"^space: got dropout; the configuration is a function: write these into it"):
        make_plan(NHITS, DATA, replace(REQUEST, space={"dropout": 0.1}), space_is_function=True)


def test_the_inputs_of_a_function_are_its_own_business() -> None:
    short = replace(DATA, shortest=26, n_rows=26)
    assert make_plan(NHITS, short, REQUEST, space_is_function=True).space is None


# The smallest input


@pytest.mark.parametrize(
    ("name", "horizon", "space", "smallest"),
    [
        ("NHITS", 12, {}, 12),
        ("NHITS", 1, {}, 9),
        ("GRU", 12, {}, 36),
        ("TimeMixer", 7, {}, 8),
        ("NHITS", 12, {"input_size": [5, 50]}, 5),
        ("NHITS", 12, {"input_size": {"low": 6, "high": 60}}, 6),
        ("NHITS", 12, {"input_size": 30}, 30),
        ("GRU", 12, {"input_size": -1}, 36),
        ("NHITS", 12, {"input_size": 30, "start_padding_enabled": True}, 1),
    ],
    ids=str,
)
def test_a_series_must_hold_the_smallest_input(name: str, horizon: int, space: dict[str, Any], smallest: int) -> None:
    assert smallest_input(entry(name), horizon, 1, replace(REQUEST, space=space)) == smallest


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("horizon", [1, 7, 24])
def test_data_that_just_holds_the_smallest_input_is_enough(name: str, horizon: int) -> None:
    model = entry(name)
    length = 2 * horizon + smallest_input(model, horizon, 2, REQUEST)
    data = DataFacts(2, length, length, 2 * length, horizon, horizon)
    assert make_plan(model, data, REQUEST).max_steps > 0
    with pytest.raises(InputError):
        make_plan(model, replace(data, shortest=length - 1), REQUEST)


def test_where_time_counts_the_start_is_no_dearer_than_the_defaults() -> None:
    made = make_plan(GRU, DATA, replace(REQUEST, limit=Limit(seconds=600), trials=1000))
    start = made.decision("sampler").arguments["phases"][0]
    sizes = start["arguments"]["highest"]
    names_of_sizes = {label.removeprefix("log2(").removeprefix("rank(").rstrip(")") for label in sizes}
    assert {"input_size", "encoder_hidden_size"} <= names_of_sizes
    assert sizes == {label: made.default[label] for label in sizes}
    assert "learning_rate" not in sizes
    assert "at most the model's defaults" in made.decision("sampler").reason
    for other in ({}, {"limit": Limit(seconds=600), "disabled": frozenset({"cost-aware"})}):
        request = replace(REQUEST, trials=1000, **other)
        assert "arguments" not in make_plan(GRU, DATA, request).decision("sampler").arguments["phases"][0]
