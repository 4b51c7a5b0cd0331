from __future__ import annotations

import json

import optuna
import pytest

from castpool.sampler_policies.facts import SpaceFacts
from castpool.sampler_policies.spaces.parameter import from_choices
from castpool.sampler_policies.spaces.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = Space(
    (from_choices("batch_size", [32, 64]), from_choices("pools", [[2, 2], [4, 4]])), {"alpha": 1, "lists": [1, [2]]}
)


def test_a_parameter_is_found_by_its_argument() -> None:
    assert SPACE["batch_size"].label == "log2(batch_size)"


def test_a_constant_is_not_a_parameter() -> None:
    assert "batch_size" in SPACE
    assert "alpha" not in SPACE
    with pytest.raises(KeyError):
        SPACE["alpha"]


def test_searching_replaces_the_parameter_of_that_name_in_its_place() -> None:
    space = SPACE.searching(from_choices("batch_size", [1, 2, 3]))
    assert [parameter.name for parameter in space.parameters] == ["batch_size", "pools"]
    assert space["batch_size"].grid() == [1, 2, 3]


def test_searching_replaces_the_constant_of_that_name() -> None:
    space = SPACE.searching(from_choices("alpha", [1, 2]))
    assert "alpha" in space
    assert "alpha" not in space.constants


def test_fixing_replaces_the_parameter_of_that_name() -> None:
    space = SPACE.fixing("batch_size", 48)
    assert "batch_size" not in space
    assert space.constants["batch_size"] == 48


def test_without_leaves_neither_parameter_nor_constant() -> None:
    space = SPACE.without("batch_size").without("alpha")
    assert [parameter.name for parameter in space.parameters] == ["pools"]
    assert list(space.constants) == ["lists"]


def test_a_change_leaves_the_space_itself_alone() -> None:
    before = json.dumps(SPACE.to_json())
    SPACE.fixing("alpha", 2, "a note").searching(from_choices("beta", [1, 2])).without("pools")
    assert json.dumps(SPACE.to_json()) == before


def test_notes_are_kept_in_order_and_none_is_none() -> None:
    assert SPACE.noting("one").noting(None).fixing("alpha", 2, "two").notes == ("one", "two")


def test_a_trial_gets_constants_and_choices_as_the_model_takes_them() -> None:
    trial = optuna.trial.FixedTrial({"log2(batch_size)": 6, "pools": "[4, 4]"})
    assert SPACE.suggest(trial) == {"alpha": 1, "lists": [1, [2]], "batch_size": 64, "pools": [4, 4]}


def test_a_stored_trial_decodes_to_what_it_was_suggested() -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)).ask()
    config = SPACE.suggest(trial)
    assert SPACE.decode(trial.params) == config
    assert SPACE.decode(SPACE.encode(config)) == config


def test_only_arguments_that_are_named_are_encoded() -> None:
    assert SPACE.encode({"batch_size": 100, "unknown": 1}) == {"log2(batch_size)": 6}


def test_facts_count_parameters_and_those_without_order() -> None:
    assert SPACE.facts == SpaceFacts(n_parameters=2, n_unordered=1, n_points=4)
    assert SPACE.without("pools").facts.n_unordered == 0


def test_the_way_through_json_changes_nothing() -> None:
    space = SPACE.noting("why")
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
