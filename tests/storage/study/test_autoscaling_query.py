"""What KEDA asks the database: how many trials are still to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from castpool.storage.budget import slots
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy, list_studies
from tests.storage.helpers import claimed, execute, expire, finish, make_study, reap, release_slot

TRIGGER = Path(__file__).parents[3] / "deploy" / "kubernetes" / "components" / "keda-trigger" / "trigger.yaml"


def asked(store: Store) -> float:
    """The answer to KEDA's query, as its driver gets it."""
    ((patch,),) = yaml.safe_load_all(TRIGGER.read_text())
    with store.engine.connect() as connection:
        answer = connection.exec_driver_sql(patch["value"][0]["metadata"]["query"]).scalar_one()
    assert isinstance(answer, float)
    return answer


def test_without_a_study_nothing_is_to_do(store: Store) -> None:
    assert asked(store) == 0


def test_a_slot_counts_until_it_ends_under_any_lease(store: Store, stored: StoredStudy) -> None:
    assert asked(store) == 3
    claims = [claimed(store, stored) for _ in range(3)]
    assert asked(store) == 3

    for left, (claim, outcome) in enumerate(zip(claims[:2], ("complete", "pruned"), strict=True), start=1):
        finish(store, claim, outcome)
        assert asked(store) == 3 - left

    expire(store, claims[2])
    assert asked(store) == 1
    reap(store, stored)
    assert asked(store) == 1
    again = claimed(store, stored)
    release_slot(store, again)
    assert asked(store) == 1
    finish(store, claimed(store, stored))
    assert asked(store) == 0
    assert slots.count(store.engine, stored.study_id).is_done


def test_studies_add_up_and_a_raised_budget_counts(store: Store, stored: StoredStudy) -> None:
    make_study(store, "wind", trials=4)
    assert asked(store) == 7
    make_study(store, stored.name, trials=5)
    assert asked(store) == 9


@pytest.mark.parametrize(
    ("budgets", "spent"),
    [
        ({"steps": 100}, "UPDATE castpool_budgets SET spent = 100 WHERE kind = 'steps'"),
        ({"seconds": 60.0}, "UPDATE castpool_budgets SET spent = 60 WHERE kind = 'time'"),
        (
            {"steps": 100, "seconds": 60.0},
            "UPDATE castpool_budgets SET spent = CASE kind WHEN 'time' THEN 61 ELSE 99 END WHERE true",
        ),
        ({}, "UPDATE castpool_studies SET stopped = 'the first 3 trials all failed' WHERE true"),
    ],
)
def test_a_study_that_is_over_asks_for_no_worker(store: Store, budgets: dict[str, Any], spent: str) -> None:
    make_study(store, trials=3, **budgets)
    make_study(store, "wind", trials=1)
    assert asked(store) == 4
    execute(store, f"{spent} AND study_id = (SELECT min(study_id) FROM castpool_studies)")
    assert asked(store) == 1
    # As the rest of castpool sees it.
    assert {study.name: study.is_done for study in list_studies(store)} == {"air": True, "wind": False}


def test_what_only_one_python_can_serve_asks_for_no_worker(store: Store, stored: StoredStudy) -> None:
    needs = "UPDATE castpool_studies SET plan = plan || jsonb_build_object('needs', cast(:names AS jsonb))"
    execute(store, needs, names="[]")
    assert asked(store) == 3
    execute(store, needs, names='["loss"]')
    assert asked(store) == 0
