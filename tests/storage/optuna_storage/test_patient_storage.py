"""The Optuna storage under failure: every call of a worker survives a broken connection and a lost answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from castpool.storage.store import Store, open_store
from tests.storage.helpers import (
    breaking_before_statement,
    breaking_before_use,
    connections,
    eventually,
    execute,
    losing_answer,
    watcher,
)

X = FloatDistribution(0, 1)

# Optuna's calls of a storage while a worker works, and whether each writes.
CALLS: dict[str, tuple[Callable[[BaseStorage, int, int], Any], bool]] = {
    "create a study": (
        lambda storage, study, trial: storage.create_new_study([StudyDirection.MINIMIZE], "other"),
        True,
    ),
    "find a study": (lambda storage, study, trial: storage.get_study_id_from_name("air"), False),
    "list studies": (lambda storage, study, trial: storage.get_all_studies(), False),
    "name of a study": (lambda storage, study, trial: storage.get_study_name_from_id(study), False),
    "directions of a study": (lambda storage, study, trial: storage.get_study_directions(study), False),
    "note on a study": (lambda storage, study, trial: storage.set_study_user_attr(study, "a", 1), True),
    "a sampler's note on a study": (lambda storage, study, trial: storage.set_study_system_attr(study, "a", 1), True),
    "notes on a study": (lambda storage, study, trial: storage.get_study_user_attrs(study), False),
    "a sampler's notes on a study": (lambda storage, study, trial: storage.get_study_system_attrs(study), False),
    "create a trial": (lambda storage, study, trial: storage.create_new_trial(study), True),
    "a parameter": (lambda storage, study, trial: storage.set_trial_param(trial, "x", 0.5, X), True),
    "a report": (lambda storage, study, trial: storage.set_trial_intermediate_value(trial, 1, 0.5), True),
    "a note on a trial": (lambda storage, study, trial: storage.set_trial_user_attr(trial, "a", 1), True),
    "a sampler's note on a trial": (lambda storage, study, trial: storage.set_trial_system_attr(trial, "a", 1), True),
    "tell": (lambda storage, study, trial: storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5]), True),
    "a heartbeat": (lambda storage, study, trial: storage.record_heartbeat(trial), True),
    "stale trials": (lambda storage, study, trial: storage._get_stale_trial_ids(study), False),  # type: ignore[attr-defined]
    "a trial": (lambda storage, study, trial: storage.get_trial(trial), False),
    "a trial by its number": (
        lambda storage, study, trial: storage.get_trial_id_from_study_id_trial_number(study, 0),
        False,
    ),
    "number of a trial": (lambda storage, study, trial: storage.get_trial_number_from_id(trial), False),
    "parameters of a trial": (lambda storage, study, trial: storage.get_trial_params(trial), False),
    "notes on a trial": (lambda storage, study, trial: storage.get_trial_user_attrs(trial), False),
    "all trials": (lambda storage, study, trial: storage.get_all_trials(study), False),
    "how many trials": (lambda storage, study, trial: storage.get_n_trials(study), False),
    "the best trial": (lambda storage, study, trial: storage.get_best_trial(study), False),
}
WRITES = [name for name, (_, writes) in CALLS.items() if writes]


@pytest.fixture(scope="module")
def elsewhere(shared_store: Store) -> Iterator[RDBStorage]:
    """Another process's storage, whose writes no cache here knows."""
    other = RDBStorage(shared_store.url.render_as_string(hide_password=False))
    yield other
    other.remove_session()
    other.engine.dispose()


@pytest.fixture
def trial_id(store: Store, elsewhere: RDBStorage) -> int:
    """A running trial of study "air", beside a complete one."""
    study = optuna.create_study(storage=elsewhere, study_name="air")
    trial = study.ask()
    study.tell(study.ask(), 0.25)
    return trial._trial_id


@pytest.mark.parametrize("name", CALLS)
def test_a_broken_connection_is_waited_out(store: Store, trial_id: int, name: str) -> None:
    call, _ = CALLS[name]
    study_id = store.trials.get_study_id_from_name("air")
    breaking = breaking_before_use if name == "create a trial" else breaking_before_statement
    with breaking(store.engine) as cut:
        call(store.trials, study_id, trial_id)

    assert len(cut) == 1, "the call never reached the server"


@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_answer_was_lost_is_written_once(store: Store, trial_id: int, name: str) -> None:
    expected_rows = {
        "create a study": ("studies WHERE study_name = 'other'", 1),
        "create a trial": (
            "trials",
            4,
        ),  # the one exception: a row without a slot stays empty; a slot's row is found again
        "note on a study": ("study_user_attributes", 1),
        "a sampler's note on a study": ("study_system_attributes", 1),
        "a parameter": ("trial_params", 1),
        "a report": ("trial_intermediate_values", 1),
        "a note on a trial": ("trial_user_attributes", 1),
        "a sampler's note on a trial": ("trial_system_attributes", 1),
        "tell": ("trials WHERE state = 'COMPLETE'", 2),
        "a heartbeat": ("trial_heartbeats", 1),
    }
    study_id = store.trials.get_study_id_from_name("air")
    store.trials.get_all_trials(study_id)
    call, _ = CALLS[name]

    with losing_answer(store.engine) as lost:
        if name == "create a study":  # as castpool calls it
            optuna.create_study(storage=store.trials, study_name="other", load_if_exists=True)
        else:
            call(store.trials, study_id, trial_id)

    rows, expected = expected_rows[name]
    assert lost
    assert execute(store, f"SELECT count(*) FROM {rows}") == [(expected,)]


def test_a_trial_that_another_worker_failed_is_not_taken_for_ours(store: Store, trial_id: int) -> None:
    store.trials.set_trial_state_values(trial_id, TrialState.FAIL)

    with pytest.raises(UpdateFinishedTrialError):
        store.trials.set_trial_state_values(trial_id, TrialState.FAIL)


def test_nor_one_that_was_failed_while_our_answer_was_on_its_way(store: Store, trial_id: int) -> None:
    url = store.url.render_as_string(hide_password=False)
    with watcher(url) as watch, breaking_before_statement(store.engine) as cut:
        watch.exec_driver_sql("UPDATE trials SET state = 'FAIL' WHERE state = 'RUNNING'")
        with pytest.raises(UpdateFinishedTrialError):
            store.trials.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])

    assert cut
    assert store.trials.get_trial(trial_id).state == TrialState.FAIL


def test_a_lost_answer_to_tell_is_no_error(store: Store, trial_id: int) -> None:
    with losing_answer(store.engine) as lost:
        assert store.trials.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])

    assert lost
    trial = store.trials.get_trial(trial_id)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


def test_optuna_works_on_the_connections_of_the_store(database: str, trial_id: int) -> None:
    # Under another name: connections that earlier tests left to the garbage collector have the usual one.
    with open_store(database, application_name="castpool alone") as store, watcher(database) as watch:
        execute(store, "SELECT 1")
        store.trials.get_trial(trial_id)
        assert eventually(lambda: connections(watch, "castpool alone") == 1)
