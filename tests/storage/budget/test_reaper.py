"""Expired leases: the attempt fails, the slot opens; a trial that ended stays as it is."""

from __future__ import annotations

import re
import time
from datetime import datetime

import optuna
import pytest
from optuna.trial import TrialState

from castpool.storage.budget import reaper, slots
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import (
    claimed,
    expire,
    frozen,
    load,
    make_study,
    reap,
    slot_row,
    started,
)


def test_an_expired_lease_fails_its_trial_and_opens_its_slot(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    expire(store, claim)

    assert reap(store, stored) == [0]

    ended = frozen(store, trial)
    assert ended.state == TrialState.FAIL
    reason = ended.user_attrs["reason"]
    assert re.fullmatch(
        rf"lost: worker {claim.worker_id} \(host, process 1\) is gone, last beat \d+ s before; attempt 1", reason
    )
    assert ended.intermediate_values == {1: 0.5}, "what it reported stays"
    row = slot_row(store, claim)
    assert (row.worker_id, row.lease_until, row.ended_at, row.outcome) == (None, None, None, None)
    assert (row.failures, row.reason) == ({"lost": 1}, reason)
    assert claimed(store, stored).retry_of == trial._trial_id


def test_a_lease_that_has_not_expired_is_left_alone(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)
    before = slot_row(store, claim)

    assert reap(store, stored) == []
    assert slot_row(store, claim) == before
    assert frozen(store, trial).state == TrialState.RUNNING


def test_another_studys_leases_are_left_alone(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, make_study(store, "other"))
    expire(store, claim)

    assert reap(store, stored) == []


@pytest.mark.parametrize(
    ("state", "value", "outcome"), [(TrialState.COMPLETE, 0.25, "complete"), (TrialState.PRUNED, None, "pruned")]
)
def test_a_trial_that_ended_before_its_worker_died_ends_its_slot(
    store: Store, stored: StoredStudy, state: TrialState, value: float | None, outcome: str
) -> None:
    claim, trial = started(store, stored)
    load(store).tell(trial, value, state)
    ended = frozen(store, trial)
    expire(store, claim)

    assert reap(store, stored) == [0]

    row = slot_row(store, claim)
    assert (row.outcome, row.lease_until, row.worker_id) == (outcome, None, claim.worker_id)
    assert row.ended_at is not None
    assert frozen(store, trial) == ended
    assert claimed(store, stored).slot == 1, "it is not retried"


def test_a_trial_that_ended_as_failed_is_retried(store: Store, stored: StoredStudy) -> None:
    """That is what a slot on its way back looks like."""
    claim, trial = started(store, stored)
    trial.set_user_attr("reason", "released")
    load(store).tell(trial, state=TrialState.FAIL)
    expire(store, claim)

    assert reap(store, stored) == [0]
    assert frozen(store, trial).user_attrs["reason"] == "released"
    assert claimed(store, stored).retry_of == trial._trial_id


def test_a_lease_without_a_trial_opens_its_slot(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    expire(store, claim)

    assert reap(store, stored) == [0]
    again = claimed(store, stored)
    assert (again.slot, again.attempt, again.retry_of) == (0, 2, None)


def test_a_slot_that_is_lost_too_often_fails_for_good(store: Store) -> None:
    stored = make_study(store, trials=1, max_retries=2)
    for attempt in (1, 2, 3):
        assert not slots.count(store.engine, stored.study_id).is_done
        claim, _ = started(store, stored)
        assert claim.attempt == attempt
        expire(store, claim)
        assert reap(store, stored) == [0]

    row = slot_row(store, claim)
    assert (row.outcome, row.failures) == ("failed", {"lost": 3})
    assert "attempt 3" in row.reason
    assert slots.count(store.engine, stored.study_id).is_done


def test_a_trial_that_a_user_runs_in_the_same_study_is_left_alone(store: Store, stored: StoredStudy) -> None:
    study = load(store)
    trial = optuna.Trial(study, store.trials.create_new_trial(study._study_id))

    reap(store, stored)
    assert frozen(store, trial).state == TrialState.RUNNING


def test_a_large_pool_is_reaped_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "BATCH", 4)
    stored = make_study(store, trials=6)
    expire(store, *(claimed(store, stored) for _ in range(6)))

    assert [reap(store, stored) for _ in range(3)] == [[0, 1, 2, 3], [4, 5], []]


def test_the_end_of_a_trial_is_written_in_optunas_time_zone(
    store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        claim, trial = started(store, stored)
        expire(store, claim)
        reap(store, stored)
        ended = frozen(store, trial).datetime_complete
        assert ended is not None
        assert abs((datetime.now() - ended).total_seconds()) < 60
    finally:
        monkeypatch.undo()
        time.tzset()
