"""Each lever can be left out: the plan, the space and the pool are then without it, and say so."""

from __future__ import annotations

from typing import Any

import pytest

from sampler_policies.catalogue import entry
from sampler_policies.errors import InputError
from sampler_policies.facts import DataFacts, Limit
from sampler_policies.levers import LEVERS
from sampler_policies.plan import Plan, make_plan
from sampler_policies.wishes import Wishes
from workers.pool import cores, threads_each
from workers.quick_steps import STEP_LEVERS
from workers.spec import make_spec

LIMITS = {"trials": Limit(), "time": Limit(seconds=600.0), "steps": Limit(steps=20_000)}
DATA = DataFacts(n_series=1, shortest=144, longest=144, n_rows=144, horizon=12, val_size=12)


def plan(*without: str) -> Plan:
    return make_plan(entry("NHITS"), DATA, Wishes(trials=20, workers=2, without=frozenset(without)))


def test_without_bounds_batches_are_the_models_own() -> None:
    bounded, own = plan().space, plan("bounded-batches").space
    assert bounded is not None and own is not None
    assert max(bounded["windows_batch_size"].grid()) == 64
    assert own["windows_batch_size"].grid() == [128, 256, 512, 1024]
    assert own["batch_size"].grid() == [32, 64, 128, 256]


def test_without_order_every_list_is_of_choices() -> None:
    ordered, space = plan().space, plan("ordered-space").space
    assert ordered is not None and space is not None
    assert {own.kind for own in space.parameters} == {"choice", "float"}
    for own in space.parameters:
        assert own.grid() == ordered[own.name].grid(), "the same values"
    assert plan("ordered-space").default["input_size"] == 24


def test_without_a_resource_max_steps_is_searched_up_to_the_longest() -> None:
    left = plan("steps-as-resource")
    assert left.space is not None
    assert left.space["max_steps"].grid() == [500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500]
    assert left.max_steps == 1500


@pytest.mark.parametrize("lever", LEVERS)
def test_what_is_left_out_is_said(lever: str) -> None:
    assert f"{lever} is left out, as asked for" in plan(lever).decision("space").reason


def test_cores_are_shared_unless_that_is_left_out() -> None:
    assert threads_each(cores()) == 1
    assert threads_each(cores(), ["shared-cores"]) == cores()


def test_levers_of_a_step_are_levers() -> None:
    assert set(STEP_LEVERS) <= set(LEVERS)


def test_a_lever_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        make_spec({"model": "MLP", "horizon": 4, "without": ["fused-optimiser"]})
    assert str(caught.value) == "without: got ['fused-optimiser']; did you mean 'fused-optimizer'?"


def test_a_study_without_levers_is_another_study_and_one_with_all_is_as_before() -> None:
    spec = {"model": "MLP", "horizon": 4}
    assert "without" not in make_spec(spec).identity("data")
    left = make_spec({**spec, "without": ["quiet-steps", "best-check", "quiet-steps"]})
    assert left.identity("data")["without"] == ["best-check", "quiet-steps"]


@pytest.mark.parametrize(
    ("limited_by", "without", "weighs"),
    [("time", (), True), ("time", ("weighed-time",), False), ("steps", (), False), ("trials", (), False)],
)
def test_where_time_ends_the_study_promises_are_weighed_by_it(
    limited_by: str, without: tuple[str, ...], weighs: bool
) -> None:
    wishes = Wishes(200, workers=2, limit=LIMITS[limited_by], without=frozenset(without))
    sampler = make_plan(entry("NHITS"), DATA, wishes).decision("sampler")
    learner = sampler.arguments["phases"][1]
    assert learner["sampler"] == "CurveGP"
    assert learner.get("arguments", {}).get("weighs_time", False) == weighs
    assert ("by the seconds of a training step" in sampler.reason) == weighs


def test_patience_is_a_third_of_the_checks() -> None:
    with_it = plan()
    assert (with_it.max_steps // with_it.val_check_steps, with_it.patience) == (15, 5)
    assert with_it.decision("patience").reason.startswith("a trial is worth its best check, and ends where 500 steps")


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"without": frozenset({"patience"})}, "patience left out, as asked for"),
        ({"without": frozenset({"best-check"})}, "best-check left out, as asked for"),
        ({"backend": "ray"}, "Ray's scheduler stops trials"),
        ({"space": {"early_stop_patience_steps": 7}}, "the space says early_stop_patience_steps"),
        ({"max_steps": 10, "val_check_steps": 2}, "5 checks are too few to wait for a better one in vain"),
    ],
)
def test_what_speaks_against_patience(wishes: dict[str, Any], reason: str) -> None:
    made = make_plan(entry("NHITS"), DATA, Wishes(trials=20, **wishes))
    assert (made.patience, made.decision("patience").reason) == (0, reason)


def test_a_plan_of_before_there_was_patience_has_none() -> None:
    stored = {key: own for key, own in plan().to_json().items() if key != "patience"}
    assert Plan.from_json(stored).patience == 0
    assert Plan.from_json(plan().to_json()) == plan()


@pytest.mark.parametrize(("limited_by", "spares"), [("trials", True), ("steps", False), ("time", False)])
def test_where_trials_are_not_counted_the_default_competes_too(limited_by: str, spares: bool) -> None:
    made = make_plan(entry("NHITS"), DATA, Wishes(trials=200, workers=2, limit=LIMITS[limited_by]))
    assert made.spares_default == spares
    assert Plan.from_json(made.to_json()) == made


def test_a_plan_with_what_is_no_part_of_one_any_more_is_read() -> None:
    assert Plan.from_json({**plan().to_json(), "grace_seconds": 1.0, "spared_seconds": 30.0}) == plan()


@pytest.mark.parametrize("pruner", ["Median", "SuccessiveHalving", "Nop"])
def test_a_pruner_that_was_asked_for_spares_the_default(pruner: str) -> None:
    made = make_plan(entry("NHITS"), DATA, Wishes(trials=200, limit=LIMITS["time"], pruner=pruner))
    assert made.spares_default
