"""Each optimization can be disabled: the plan, the space and the pool then do not use it, and the plan says so."""

from __future__ import annotations

from typing import Any

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import DataFacts, Limit
from castpool.sampler_policies.optimizations import OPTIMIZATIONS
from castpool.sampler_policies.plan import Plan, make_plan
from castpool.sampler_policies.spaces.model_catalogue import entry
from castpool.sampler_policies.user_request import UserRequest
from castpool.workers.spec.study_spec import make_spec
from castpool.workers.support.machine import cores, threads_each
from castpool.workers.training.fast_step_callback import STEP_OPTIMIZATIONS

LIMITS = {"trials": Limit(), "time": Limit(seconds=600.0), "steps": Limit(steps=20_000)}
DATA = DataFacts(n_series=1, shortest=144, longest=144, n_rows=144, horizon=12, val_size=12)


def plan(*disabled: str) -> Plan:
    return make_plan(entry("NHITS"), DATA, UserRequest(trials=20, workers=2, disabled=frozenset(disabled)))


def test_without_bounds_batches_are_the_models_own() -> None:
    bounded, default = plan().space, plan("bounded-batches").space
    assert bounded is not None and default is not None
    assert max(bounded["windows_batch_size"].grid()) == 64
    assert default["windows_batch_size"].grid() == [128, 256, 512, 1024]
    assert default["batch_size"].grid() == [32, 64, 128, 256]


def test_without_order_every_list_is_of_choices() -> None:
    ordered, space = plan().space, plan("ordered-space").space
    assert ordered is not None and space is not None
    assert {parameter.kind for parameter in space.parameters} == {"choice", "float"}
    for parameter in space.parameters:
        assert parameter.grid() == ordered[parameter.name].grid(), "the same values"
    assert plan("ordered-space").default["input_size"] == 24


def test_without_a_resource_max_steps_is_searched_up_to_the_longest() -> None:
    made = plan("steps-as-resource")
    assert made.space is not None
    assert made.space["max_steps"].grid() == [500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500]
    assert made.max_steps == 1500


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
def test_what_is_left_out_is_said(optimization: str) -> None:
    assert f"{optimization} is disabled by the user" in plan(optimization).decision("space").reason


def test_cores_are_shared_unless_that_is_left_out() -> None:
    assert threads_each(cores()) == 1
    assert threads_each(cores(), ["shared-cores"]) == cores()


def test_optimizations_of_a_step_are_optimizations() -> None:
    assert set(STEP_OPTIMIZATIONS) <= set(OPTIMIZATIONS)


def test_an_optimization_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        make_spec({"model": "MLP", "horizon": 4, "disable": ["fused-optimiser"]})
    assert str(caught.value) == "disable: got ['fused-optimiser']; did you mean 'fused-optimizer'?"


def test_a_study_without_optimizations_is_another_study_and_one_with_all_is_as_before() -> None:
    spec = {"model": "MLP", "horizon": 4}
    assert "without" not in make_spec(spec).identity("data")
    disabling = make_spec({**spec, "disable": ["quiet-steps", "best-check", "quiet-steps"]})
    assert disabling.identity("data")["without"] == ["best-check", "quiet-steps"]


@pytest.mark.parametrize(
    ("limited_by", "disabled", "is_cost_aware"),
    [("time", (), True), ("time", ("cost-aware",), False), ("steps", (), False), ("trials", (), False)],
)
def test_where_time_ends_the_study_the_acquisition_is_cost_aware(
    limited_by: str, disabled: tuple[str, ...], is_cost_aware: bool
) -> None:
    request = UserRequest(200, workers=2, limit=LIMITS[limited_by], disabled=frozenset(disabled))
    sampler = make_plan(entry("NHITS"), DATA, request).decision("sampler")
    learner = sampler.arguments["phases"][1]
    assert learner["sampler"] == "CurveGP"
    assert learner.get("arguments", {}).get("is_cost_aware", False) == is_cost_aware
    assert ("expected improvement per second" in sampler.reason) == is_cost_aware


def test_patience_is_a_third_of_the_checks() -> None:
    with_it = plan()
    assert (with_it.max_steps // with_it.val_check_steps, with_it.patience) == (15, 5)
    assert with_it.decision("patience").reason.startswith(
        "a trial's value is its best validation loss; it ends after 500 steps"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"disabled": frozenset({"patience"})}, "patience disabled by the user"),
        ({"disabled": frozenset({"best-check"})}, "best-check disabled by the user"),
        ({"backend": "ray"}, "Ray's scheduler stops trials"),
        ({"space": {"early_stop_patience_steps": 7}}, "the space sets early_stop_patience_steps"),
        ({"max_steps": 10, "val_check_steps": 2}, "5 checks are too few for early stopping"),
    ],
)
def test_why_patience_is_rejected(settings: dict[str, Any], reason: str) -> None:
    made = make_plan(entry("NHITS"), DATA, UserRequest(trials=20, **settings))
    assert (made.patience, made.decision("patience").reason) == (0, reason)


def test_a_plan_of_before_there_was_patience_has_none() -> None:
    stored = {key: value for key, value in plan().to_json().items() if key != "patience"}
    assert Plan.from_json(stored).patience == 0
    assert Plan.from_json(plan().to_json()) == plan()


@pytest.mark.parametrize(("limited_by", "spares"), [("trials", True), ("steps", False), ("time", False)])
def test_where_trials_are_not_counted_the_default_competes_too(limited_by: str, spares: bool) -> None:
    made = make_plan(entry("NHITS"), DATA, UserRequest(trials=200, workers=2, limit=LIMITS[limited_by]))
    assert made.spares_default == spares
    assert Plan.from_json(made.to_json()) == made


def test_a_plan_with_what_is_no_part_of_one_any_more_is_read() -> None:
    assert Plan.from_json({**plan().to_json(), "grace_seconds": 1.0, "spared_seconds": 30.0}) == plan()


@pytest.mark.parametrize("pruner", ["Median", "SuccessiveHalving", "Nop"])
def test_a_pruner_that_was_asked_for_spares_the_default(pruner: str) -> None:
    made = make_plan(entry("NHITS"), DATA, UserRequest(trials=200, limit=LIMITS["time"], pruner=pruner))
    assert made.spares_default
