"""The storage of every study: its statements, when other processes see a write, and how a slot ends with its trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import event

import castpool.storage.optuna_storage.owned_trial
from castpool.sampler_policies.pruners.incremental import IncrementalHyperbandPruner, IncrementalMedianPruner
from castpool.storage.attempts.lifecycle import begin_trial, end_trial, keep_checkpoint, note
from castpool.storage.budget import reaper
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import claimed, execute, expire, frozen, load, make_study, slot_row, started

NAMES = [f"x{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def reports_go_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(castpool.storage.optuna_storage.owned_trial, "REPORT_SECONDS", 0.0)


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """Collect the statements that the store's process sends, except those that `run_together` sends as two."""
    sent: list[str] = []

    def collect(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(store.engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        event.remove(store.engine, "before_cursor_execute", collect)


def fill(store: Store, study: optuna.Study, claim: Claim, value: float = 0.5) -> optuna.Trial:
    """Fill a slot with a trial of eight parameters and ten reports."""
    trial = begin_trial(study, claim, {"worker": claim.worker_id})
    note(study, trial, {"sampler": "Random"})
    for name in NAMES:
        trial.suggest_float(name, 0, 1)
    trial.set_user_attr("config", {"size": 3})
    for step in range(10):
        trial.report(value, step)
        trial.should_prune()
    end_trial(study, trial, claim, TrialState.COMPLETE, value, outcome="complete", user_attrs={"seconds": 1.0})
    return trial


@pytest.mark.parametrize(
    ("pruner", "most"),
    [
        (optuna.pruners.NopPruner(), 12),
        (IncrementalMedianPruner(n_startup_trials=1), 12),
        (IncrementalHyperbandPruner(min_resource=1, max_resource=10, reduction_factor=3), 15),
    ],
)
def test_a_trial_takes_few_statements(store: Store, pruner: optuna.pruners.BasePruner, most: int) -> None:
    stored = make_study(store, trials=4)
    study = load(store)
    study.pruner = pruner
    for _ in range(3):
        fill(store, study, claimed(store, stored))
    claim = claimed(store, stored)

    with statements(store) as sent:
        fill(store, study, claim)

    assert len(sent) <= most, "\n".join(sent)


def test_parameters_are_seen_with_what_is_written_next(store: Store, stored: StoredStudy) -> None:
    study, elsewhere = load(store), PoolStorage(store.engine)
    trial = begin_trial(study, claimed(store, stored), {})
    trial.suggest_float("x1", 0, 1)
    trial.suggest_float("x2", 0, 1)
    store.trials.set_trial_system_attr(trial._trial_id, "drawn", 3)
    note(study, trial, {"sampler": "Random"})
    assert elsewhere.get_trial(trial._trial_id).params == {}

    trial.set_user_attr("config", {"size": 3})

    seen = elsewhere.get_trial(trial._trial_id)
    assert list(seen.params.items()) == list(trial.params.items())
    assert seen.system_attrs["drawn"] == 3
    assert (seen.user_attrs["sampler"], seen.user_attrs["config"]) == ("Random", {"size": 3})


def test_or_before_this_process_reads_them(store: Store, stored: StoredStudy) -> None:
    study = load(store)
    trial = begin_trial(study, claimed(store, stored), {})
    trial.suggest_float("x1", 0, 1)

    assert store.trials.get_trial(trial._trial_id).params == trial.params


def test_after_that_each_at_once(store: Store, stored: StoredStudy) -> None:
    elsewhere = PoolStorage(store.engine)
    trial = begin_trial(load(store), claimed(store, stored), {})
    trial.set_user_attr("config", {})

    trial.suggest_float("x1", 0, 1)
    assert elsewhere.get_trial(trial._trial_id).params == trial.params
    store.trials.set_trial_system_attr(trial._trial_id, "drawn", 3)
    assert elsewhere.get_trial(trial._trial_id).system_attrs["drawn"] == 3


def test_a_sampler_sees_the_study_as_it_was_when_its_trial_was_created(store: Store) -> None:
    stored = make_study(store, trials=3)
    study, elsewhere = load(store), PoolStorage(store.engine)
    before = begin_trial(study, claimed(store, stored), {})
    before.suggest_float("x1", 0, 1)
    before.set_user_attr("config", {})
    begin_trial(study, claimed(store, stored), {})
    elsewhere.set_trial_user_attr(before._trial_id, "seen", "later")

    with statements(store) as sent:
        seen = study.get_trials()
    assert sent == []
    assert [(trial.number, trial.state, trial.params) for trial in seen] == [
        (0, TrialState.RUNNING, before.params),
        (1, TrialState.RUNNING, {}),
    ]
    assert "seen" not in seen[0].user_attrs


def test_a_trial_taken_from_the_queue_is_gathered_too(store: Store) -> None:
    stored = make_study(store, trials=3)
    study = load(store)
    begin_trial(study, claimed(store, stored), {"worker": 1})
    study.enqueue_trial({"x1": 0.25})
    trial = begin_trial(study, claimed(store, stored), {"worker": 1})

    with statements(store) as sent:
        assert trial.suggest_float("x1", 0, 1) == 0.25
        trial.suggest_float("x2", 0, 1)
        trial.set_user_attr("config", {})

    assert len([statement for statement in sent if "INSERT" in statement]) == 1
    assert frozen(store, trial).params == trial.params


def test_reports_that_no_pruner_reads_wait_for_each_other(
    store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(castpool.storage.optuna_storage.owned_trial, "REPORT_SECONDS", 3600.0)
    claim, trial = started(store, stored)
    trial.report(0.25, 2)
    trial.report(0.125, 3)
    assert frozen(store, trial).last_step == 1
    store.trials.flush(trial._trial_id)
    assert frozen(store, trial).last_step == 3

    trial.report(0.1, 4)
    end_trial(load(store), trial, claim, TrialState.PRUNED, None, outcome="pruned", user_attrs={})
    assert frozen(store, trial).intermediate_values == {1: 0.5, 2: 0.25, 3: 0.125, 4: 0.1}


def test_those_that_a_pruner_reads_do_not(store: Store, stored: StoredStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(castpool.storage.optuna_storage.owned_trial, "REPORT_SECONDS", 3600.0)
    study = load(store)
    study.pruner = IncrementalMedianPruner(n_startup_trials=1)
    trial = begin_trial(study, claimed(store, stored), {})
    for step in range(3):
        trial.report(0.5, step)
        trial.should_prune()
        assert frozen(store, trial).last_step == step


def test_the_end_says_all_again(store: Store, stored: StoredStudy) -> None:
    """A server that crashes may lose what a running trial has just reported."""
    claim, trial = started(store, stored)
    trial.suggest_float("more", 0, 1)
    trial.report(0.25, 7)
    whole = frozen(store, trial)
    for table in ("trial_params", "trial_intermediate_values", "trial_user_attributes"):
        execute(store, f"DELETE FROM {table} WHERE trial_id = :trial_id", trial_id=trial._trial_id)

    end_trial(load(store), trial, claim, TrialState.COMPLETE, 0.5, outcome="complete", user_attrs={})

    ended = frozen(store, trial)
    assert (ended.params, ended.intermediate_values) == (whole.params, whole.intermediate_values)
    assert {7: 0.25}.items() <= ended.intermediate_values.items()


def test_a_checkpoint_says_all_again(store: Store, stored: StoredStudy) -> None:
    """A server that crashed may have lost reports; a worker that resumes from the checkpoint could not know them."""
    claim, trial = started(store, stored)
    trial.report(0.25, step=2)
    execute(store, "DELETE FROM trial_intermediate_values")
    execute(store, "DELETE FROM trial_params")
    keep_checkpoint(load(store), trial, claim, "a checkpoint", 2)
    expire(store, claim)
    reaper.reap(store.engine, stored.study_id)

    again = begin_trial(load(store), claimed(store, stored), {})
    assert frozen(store, again).intermediate_values == {1: 0.5, 2: 0.25}
    assert frozen(store, again).system_attrs["fixed_params"] == trial.params


def test_ended_trials_are_read_once(store: Store) -> None:
    stored = make_study(store, trials=3)
    fill(store, load(store), claimed(store, stored))
    elsewhere = PoolStorage(store.engine)
    first = elsewhere.get_all_trials(stored.study_id, deepcopy=False)
    execute(store, "DELETE FROM trial_params")

    assert elsewhere.get_all_trials(stored.study_id, deepcopy=False)[0] is first[0]
    assert first[0].params.keys() == set(NAMES)


def test_what_has_happened_since_is_seen(store: Store) -> None:
    stored = make_study(store, trials=4)
    elsewhere = PoolStorage(store.engine)
    claim, trial = started(store, stored)
    seen = elsewhere.get_all_trials(stored.study_id)
    assert [(other.state, other.params, other.intermediate_values) for other in seen] == [
        (TrialState.RUNNING, trial.params, {1: 0.5})
    ]

    trial.report(0.25, step=2)
    _, later = started(store, stored)
    seen = elsewhere.get_all_trials(stored.study_id)
    assert [trial.last_step for trial in seen] == [2, 1]

    end_trial(load(store), trial, claim, TrialState.PRUNED, None, outcome="pruned", user_attrs={"reason": "poor"})
    states = (TrialState.PRUNED, TrialState.RUNNING)
    seen = elsewhere.get_all_trials(stored.study_id, states=states)
    assert [(trial.number, trial.state, trial.value) for trial in seen] == [
        (trial.number, TrialState.PRUNED, 0.25),
        (later.number, TrialState.RUNNING, None),
    ]
    assert seen[0].user_attrs["reason"] == "poor"


def test_a_slot_ends_with_its_trial(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)

    end_trial(load(store), trial, claim, TrialState.COMPLETE, 0.5, outcome="complete", user_attrs={"seconds": 1.0})

    row, ended = slot_row(store, claim), frozen(store, trial)
    assert (row.outcome, row.lease_until, row.trial_id) == ("complete", None, trial._trial_id)
    assert (ended.state, ended.value, ended.user_attrs["seconds"]) == (TrialState.COMPLETE, 0.5, 1.0)


def test_a_slot_is_released_with_its_trial(store: Store, stored: StoredStudy) -> None:
    claim, trial = started(store, stored)

    end_trial(
        load(store),
        trial,
        claim,
        TrialState.FAIL,
        None,
        outcome=None,
        user_attrs={"reason": "released: worker is shutting down"},
    )

    assert frozen(store, trial).state == TrialState.FAIL
    assert claimed(store, stored).retry_of == trial._trial_id


def take_the_lease(store: Store, claim: Claim, trial: optuna.Trial) -> None:
    expire(store, claim)
    reaper.reap(store.engine, claim.study_id)


def end_the_trial(store: Store, claim: Claim, trial: optuna.Trial) -> None:
    PoolStorage(store.engine).set_trial_state_values(trial._trial_id, TrialState.FAIL)


@pytest.mark.parametrize("interfere", [take_the_lease, end_the_trial])
@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_worker_that_has_lost_slot_or_trial_changes_neither(
    store: Store, stored: StoredStudy, interfere: Callable[[Store, Claim, optuna.Trial], None], is_noticed: bool
) -> None:
    claim, trial = started(store, stored)
    interfere(store, claim, trial)
    before = (slot_row(store, claim), frozen(store, trial))
    if is_noticed:
        with pytest.raises(UpdateFinishedTrialError):
            trial.report(0.125, step=2)

    with pytest.raises((LeaseLostError, UpdateFinishedTrialError)):
        end_trial(load(store), trial, claim, TrialState.COMPLETE, 0.5, outcome="complete", user_attrs={"seconds": 1.0})
    with pytest.raises(UpdateFinishedTrialError):
        store.trials.set_trial_intermediate_value(trial._trial_id, 5, 0.1)

    assert (slot_row(store, claim), frozen(store, trial)) == before
