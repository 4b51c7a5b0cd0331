"""Which models `auto` chooses, and why it rejects the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.rules.choose_models import MODELS, ModelFacts, choose_models
from castpool.workers.planning.model_cache import known_models

SHORT = ModelFacts(DataFacts(n_series=1, shortest=100, longest=100, n_rows=100, horizon=12, val_size=12))
LONG = replace(SHORT, data=DataFacts(8, 3000, 3000, 24_000, 24, 24), is_joint=True)


def chosen(facts: ModelFacts) -> list[str]:
    return [decision.choice for decision in choose_models(known_models(), facts)]


def test_one_short_series_gets_a_quick_model_and_a_yardstick() -> None:
    assert chosen(SHORT) == ["NHITS", "DLinear"]


def test_long_series_of_one_span_get_attention_and_a_joint_model() -> None:
    assert chosen(LONG) == ["NHITS", "DLinear", "PatchTST", "TSMixer"]


def test_exogenous_columns_leave_models_that_take_them() -> None:
    facts = replace(LONG, exogenous=frozenset({"futr"}))
    assert chosen(facts) == ["NHITS", "TiDE", "TSMixerx"]
    rejected = choose_models(known_models(), facts)[0].rejected
    assert rejected["DLinear"] == "it takes no future columns"
    assert rejected["PatchTST"] == "it takes no future columns"


def test_the_first_decision_says_why_the_others_were_rejected() -> None:
    first, *others = choose_models(known_models(), SHORT)
    assert first.rejected == {
        "TiDE": "there are no exogenous columns for it to use",
        "PatchTST": "76 observations of input are less than 20 horizons",
        "TSMixer": "it forecasts series jointly, which takes several series that span the same time",
        "TSMixerx": "it forecasts series jointly, which takes several series that span the same time",
    }
    assert all(decision.rejected == {} for decision in others)


def test_too_many_series_are_not_forecast_jointly() -> None:
    many = replace(LONG, data=replace(LONG.data, n_series=501))
    assert "TSMixer" not in chosen(many)


def test_a_model_that_is_not_installed_is_left_out() -> None:
    known = {name: entry for name, entry in known_models().items() if name != "NHITS"}
    decisions = choose_models(known, SHORT)
    assert [decision.choice for decision in decisions] == ["DLinear"]
    assert decisions[0].rejected["NHITS"] == "the installed neuralforecast does not have it"
    with pytest.raises(InputError, match="write one of MLP"):
        choose_models({"MLP": known_models()["MLP"]}, SHORT)


def test_every_candidate_is_a_model_of_the_installed_neuralforecast() -> None:
    assert {rule.name for rule in MODELS} <= set(known_models())
