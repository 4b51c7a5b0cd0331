"""Starting an attempt: given parameters for the first slot and for retries, the sampler's for all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from castpool.storage.attempts.lifecycle import begin_trial
from castpool.storage.budget import reaper
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import claimed, execute, expire, load, losing_answer, make_study, slot_row

DEFAULT = {"x": 0.125, "n": 32, "kind": "adam"}
WORKER = {"worker": 7, "host": "node", "pid": 1234}


@pytest.fixture
def stored(store: Store) -> StoredStudy:
    return make_study(store, trials=3, first_params=DEFAULT)


def suggested(trial: optuna.Trial) -> Mapping[str, Any]:
    config = {
        "x": trial.suggest_float("x", 0, 1),
        "n": trial.suggest_int("n", 1, 1024, log=True),
        "kind": trial.suggest_categorical("kind", ["adam", "sgd"]),
    }
    trial.set_user_attr("config", config)  # as a worker does before it trains
    return config


def begun(store: Store, claim: Claim) -> optuna.Trial:
    return begin_trial(load(store), claim, WORKER)


def lose(store: Store, claim: Claim) -> None:
    expire(store, claim)
    assert reaper.reap(store.engine, claim.study_id) == [claim.slot]


def test_the_first_slot_has_the_given_parameters_and_the_others_the_samplers(store: Store, stored: StoredStudy) -> None:
    first, second = suggested(begun(store, claimed(store, stored))), suggested(begun(store, claimed(store, stored)))

    assert first == DEFAULT
    assert second["x"] not in (0, DEFAULT["x"])
    assert [trial.params for trial in load(store).trials] == [first, second]


def test_the_note_says_whose_the_trial_is(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    trial = begun(store, claim)
    lose(store, claim)
    retry = begun(store, claimed(store, stored))

    assert trial.user_attrs["castpool"] == {"slot": 0, "attempt": 1, **WORKER}
    assert retry.user_attrs["castpool"] == {"slot": 0, "attempt": 2, **WORKER, "retry_of": trial.number}


def test_a_retry_keeps_the_parameters(store: Store, stored: StoredStudy) -> None:
    claimed(store, stored)  # the defaults
    claim = claimed(store, stored)
    before = suggested(begun(store, claim))
    lose(store, claim)

    assert suggested(begun(store, claimed(store, stored))) == before


def test_a_retry_keeps_parameters_that_were_only_partly_asked_for(store: Store, stored: StoredStudy) -> None:
    claimed(store, stored)
    claim = claimed(store, stored)
    trial = begun(store, claim)
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, step=1)
    lose(store, claim)
    retry = suggested(begun(store, claimed(store, stored)))

    assert retry["x"] == x
    assert retry["kind"] in ("adam", "sgd")


def test_the_defaults_survive_an_attempt_that_asked_for_one_of_them(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    begun(store, claim).suggest_float("x", 0, 1)
    lose(store, claim)

    assert suggested(begun(store, claimed(store, stored))) == DEFAULT


def test_parameters_survive_a_retry_that_died_before_it_asked_for_any(store: Store, stored: StoredStudy) -> None:
    claimed(store, stored)
    claim = claimed(store, stored)
    before = suggested(begun(store, claim))
    lose(store, claim)
    claim = claimed(store, stored)
    begun(store, claim)
    lose(store, claim)
    claim = claimed(store, stored)

    assert claim.attempt == 3
    assert suggested(begun(store, claim)) == before


def test_no_other_worker_can_take_the_defaults(store: Store, database: str, stored: StoredStudy) -> None:
    """They never wait in Optuna's queue, where the next `ask` would find them."""
    claim = claimed(store, stored)
    taken: list[optuna.Trial] = []

    def first_asks(*_: object) -> None:
        if not taken:
            taken.append(begin_trial(load(other), claimed(other, stored), WORKER))

    with open_store(database) as other:
        event.listen(store.engine, "commit", first_asks)  # the earliest moment: before anything is committed
        begun(store, claim)
        event.remove(store.engine, "commit", first_asks)
        first = suggested(taken[0])
        later = suggested(begin_trial(load(other), claimed(other, stored), WORKER))

    assert DEFAULT not in (first, later)
    assert execute(store, "SELECT count(*) FROM trials WHERE state = 'WAITING'") == [(0,)]


def test_a_trial_enqueued_through_optuna_fills_a_slot_that_is_the_samplers(store: Store, stored: StoredStudy) -> None:
    load(store).enqueue_trial({"x": 0.75})
    default = begun(store, claimed(store, stored))
    enqueued = begun(store, claimed(store, stored))
    free = begun(store, claimed(store, stored))

    assert suggested(default) == DEFAULT
    assert suggested(enqueued)["x"] == 0.75
    assert suggested(free)["x"] != 0.75
    assert enqueued.user_attrs["castpool"]["slot"] == 1
    assert [trial.state for trial in load(store).trials] == [TrialState.RUNNING] * 3


def test_a_trial_whose_answer_was_lost_is_found_again(store: Store, stored: StoredStudy) -> None:
    claim = claimed(store, stored)
    with losing_answer(store.engine) as lost:
        trial = begin_trial(load(store), claim, WORKER)

    assert lost
    assert suggested(trial) == DEFAULT
    assert [found._trial_id for found in load(store).trials] == [trial._trial_id] == [slot_row(store, claim).trial_id]


def test_a_worker_that_lost_the_slot_creates_no_trial(store: Store, stored: StoredStudy) -> None:
    late = claimed(store, stored)
    lose(store, late)
    begun(store, claimed(store, stored))

    with pytest.raises(LeaseLostError):
        begin_trial(load(store), late, WORKER)
    assert len(load(store).trials) == 1


def test_a_waiting_trial_is_taken_once(store: Store, database: str, stored: StoredStudy) -> None:
    load(store).enqueue_trial({"x": 0.75})
    begun(store, claimed(store, stored))
    claims = [claimed(store, stored), claimed(store, stored)]
    waiting = load(store).get_trials(states=(TrialState.WAITING,))[0]

    assert [store.trials.begin_in_slot(claim, waiting, WORKER) for claim in claims] == [True, False]
    assert [slot_row(store, claim).trial_id for claim in claims] == [waiting._trial_id, None]
