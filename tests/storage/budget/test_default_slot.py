"""The slot of the model's defaults, and its trials."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import create_trial

from castpool import attributes
from castpool.storage.budget.default_slot import is_default, is_default_slot
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import load, started


@pytest.mark.parametrize(("slot", "expected"), [(0, True), (1, False), (None, False)])
def test_the_first_slot_is_the_default(slot: int | None, expected: bool) -> None:
    assert is_default_slot(slot) is expected


@pytest.mark.parametrize(
    ("user_attrs", "expected"),
    [
        ({attributes.ATTEMPT: {"slot": 0}}, True),
        ({attributes.ATTEMPT: {"slot": 3}}, False),
        ({}, False),  # a trial that another program has added
    ],
)
def test_a_trial_is_default_by_its_slot(user_attrs: dict[str, Any], expected: bool) -> None:
    assert is_default(create_trial(value=1.0, user_attrs=user_attrs)) is expected


def test_the_first_trial_of_a_study_is_the_default(store: Store, stored: StoredStudy) -> None:
    for _ in range(2):
        started(store, stored)
    assert [is_default(trial) for trial in load(store, stored.name).trials] == [True, False]
