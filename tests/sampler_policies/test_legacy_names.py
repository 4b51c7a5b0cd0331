"""Stored plans and commands with names that castpool no longer uses are read as if they had the current ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from castpool.sampler_policies import legacy_names
from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.facts import BudgetFacts, DataFacts, Limit, SpaceFacts
from castpool.sampler_policies.optimizations import OPTIMIZATIONS, canonical_name, identity_name
from castpool.sampler_policies.plan import Plan, make_plan
from castpool.sampler_policies.pruners.demoting_halving import DemotingHalvingPruner
from castpool.sampler_policies.rules.choose_pruner import build_pruner, choose_pruner
from castpool.sampler_policies.rules.choose_sampler import choose_sampler
from castpool.sampler_policies.samplers.build import build_sampler
from castpool.sampler_policies.samplers.curve_gp import CurveGPSampler
from castpool.sampler_policies.samplers.phases import IndexedQMCSampler
from castpool.sampler_policies.spaces.model_catalogue import entry
from castpool.sampler_policies.user_request import UserRequest
from castpool.workers.spec.study_spec import make_spec

DATA = DataFacts(n_series=1, shortest=144, longest=144, n_rows=144, horizon=12, val_size=12)
BUDGET = BudgetFacts(trials=100, workers=2, max_steps=1000, val_check_steps=50)
LEGACY = {
    current: legacy
    for table in (legacy_names.CLASSES, legacy_names.ARGUMENTS, legacy_names.OPTIMIZATIONS)
    for legacy, current in table.items()
}


def plan_within_time() -> Plan:
    return make_plan(entry("NHITS"), DATA, UserRequest(trials=200, workers=2, limit=Limit(seconds=600.0)))


def with_legacy_names(value: Any) -> Any:
    """Return JSON values as older versions of castpool stored them."""
    if isinstance(value, dict):
        return {LEGACY.get(key, key): with_legacy_names(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [with_legacy_names(entry) for entry in value]
    return LEGACY.get(value, value) if isinstance(value, str) else value


def test_a_plan_with_legacy_names_is_the_plan_with_current_ones() -> None:
    current = json.loads(json.dumps(plan_within_time().to_json()))
    stored = with_legacy_names(current)
    assert [phase["sampler"] for phase in stored["decisions"][4]["arguments"]["phases"]][:2] == [
        "NumberedQMC",
        "CurveGP",
    ]
    assert stored["decisions"][4]["arguments"]["phases"][1]["arguments"] == {"weighs_time": True}
    assert stored["decisions"][5]["choice"] == "StandingHalving"
    assert Plan.from_json(stored) == Plan.from_json(current) == plan_within_time()
    assert not Plan.from_json(stored).spares_default


def test_a_new_plan_has_current_names_only() -> None:
    text = json.dumps(plan_within_time().to_json())
    assert not [legacy for legacy in LEGACY.values() if legacy in text]


@pytest.mark.parametrize("written", ["StandingHalving", "standinghalving", "StandingHalvingPruner", "DemotingHalving"])
def test_a_legacy_pruner_is_built(written: str) -> None:
    assert isinstance(build_pruner(choose_pruner(BUDGET, written, {})), DemotingHalvingPruner)
    assert isinstance(build_pruner(Decision("pruner", written, "", {"min_resource": 1})), DemotingHalvingPruner)


@pytest.mark.parametrize("written", ["NumberedQMC", "numberedqmcsampler", "IndexedQMC"])
def test_a_legacy_sampler_is_built(written: str) -> None:
    decision = choose_sampler(SpaceFacts(2, 0), BUDGET, written, {})
    assert isinstance(build_sampler(decision, seed=1), IndexedQMCSampler)


def test_a_wrapped_pruner_may_have_a_legacy_name() -> None:
    arguments = {"wrapped_pruner": {"name": "StandingHalving"}, "patience": 2}
    decision = choose_pruner(BUDGET, "Patient", arguments)
    assert decision.arguments["wrapped_pruner"] == {"name": "DemotingHalving", "min_resource": 50}


@pytest.mark.parametrize("argument", ["weighs_time", "is_cost_aware"])
def test_an_argument_may_have_its_legacy_name(argument: str) -> None:
    decision = choose_sampler(SpaceFacts(2, 0), BUDGET, "CurveGP", {argument: True})
    assert decision.arguments == {"is_cost_aware": True}
    assert isinstance(sampler := build_sampler(decision, seed=1), CurveGPSampler)
    assert sampler._is_cost_aware


def test_a_choice_that_was_asked_for_is_stored_with_its_current_name() -> None:
    assert choose_pruner(BUDGET, "StandingHalving", {}).choice == "DemotingHalving"
    assert choose_sampler(SpaceFacts(2, 0), BUDGET, "NumberedQMC", {}).choice == "IndexedQMC"


def test_a_legacy_optimization_is_the_current_one_and_keeps_the_identity_of_its_studies() -> None:
    assert canonical_name("weighed-time") == canonical_name("cost-aware") == "cost-aware"
    assert canonical_name("patience") == "patience"
    assert set(legacy_names.OPTIMIZATIONS.values()) <= set(OPTIMIZATIONS)
    assert identity_name("cost-aware") == "weighed-time"
    assert all(canonical_name(identity_name(name)) == name for name in OPTIMIZATIONS)
    spec = {"model": "MLP", "horizon": 4}
    specs = [make_spec({**spec, "disable": [name, "patience"]}) for name in ("weighed-time", "cost-aware")]
    assert specs[0] == specs[1]
    assert [read.identity("data")["without"] for read in specs] == [["patience", "weighed-time"]] * 2
