"""A budget kind is one entry: what it is called, how it is displayed and what it costs."""

from __future__ import annotations

import pytest

from castpool.storage.budget import kinds, slots
from castpool.storage.budget.kinds import KINDS, STEPS, TIME, Budget, BudgetKind, read_budgets, why_over
from castpool.storage.store import Store
from castpool.workers.spec.study_spec import StudySpec
from tests.storage.helpers import execute, make_study, started


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_a_field_of_the_spec_and_costs_something(kind: BudgetKind) -> None:
    assert kind.field in StudySpec.model_fields
    assert kind.per_step or kind.per_study_second
    assert kind.format_progress(1.0, 2.0)


def test_a_budget_is_displayed_in_its_unit() -> None:
    assert STEPS.format_progress(300.0, 1000.0) == "300/1000 steps"
    assert TIME.format_progress(60.0, 1800.0) == "1:00 of 30:00"
    assert (STEPS.round(300.0), TIME.round(60.26)) == (300, 60.3)
    assert Budget(STEPS, 1_500_000.0, 1_500_000.0).message == "the budget of 1500000 training steps is spent"
    assert Budget(TIME, 0.5, 0.75).message == "the budget of 0.5 seconds is spent"


def test_without_a_limit_it_counts_and_is_never_spent() -> None:
    budget = Budget(TIME, None, 1e9)
    assert (budget.message, budget.share, budget.seconds_left()) == (None, 0.0, None)


def test_the_reason_of_a_stopped_study_comes_first_then_the_first_spent_kind() -> None:
    budgets = read_budgets([("time", 1.0, 2.0), ("steps", 10.0, 10.0), ("kind of a newer castpool", 1.0, 1.0)])
    assert [budget.kind for budget in budgets] == list(KINDS)
    assert why_over(None, budgets) == "the budget of 10 training steps is spent"
    assert why_over("stopped", budgets) == "stopped"
    assert why_over(None, read_budgets(None)) is None


def test_one_more_entry_is_charged_and_ends_the_study(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    money = BudgetKind(
        "money", unit="cents", field="money_budget", spent_name="cents", per_step=0.5, per_study_second=2.0, decimals=2
    )
    monkeypatch.setattr(kinds, "KINDS", (*KINDS, money))
    costs = {"kinds": [*kinds.COSTS["kinds"], "money"]}
    costs |= {"per_step": [*kinds.COSTS["per_step"], 0.5], "per_study_second": [*kinds.COSTS["per_study_second"], 2.0]}
    monkeypatch.setattr(slots, "COSTS", costs)
    stored = make_study(store)
    limit = "INSERT INTO castpool_budgets (study_id, kind, \"limit\") VALUES (:id, 'money', 100)"
    execute(store, limit, id=stored.study_id)
    claim, _ = started(store, stored)

    assert slots.beat(store.engine, claim, 10).over is None
    execute(store, "UPDATE castpool_studies SET active_at = active_at - interval '20 seconds'")
    allowance = slots.beat(store.engine, claim, 100)
    spent = slots.count(store.engine, stored.study_id).budget(money).spent
    assert 100 * 0.5 + 20 * 2.0 <= spent < 100
    assert allowance.seconds_left == pytest.approx((100 - spent) / 2.0, abs=0.1)
    assert slots.beat(store.engine, claim, 200).over == "the budget of 100 cents is spent"
    assert slots.claim(store.engine, stored.study_id, claim.worker_id) is None
