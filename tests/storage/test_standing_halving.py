"""Successive halving in which a promotion has to stand, on the storage that workers use."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from sampler_policies.bounded_pruners import BoundedSuccessiveHalvingPruner
from sampler_policies.standing_halving import StandingHalvingPruner
from storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")
HALVING = {"min_resource": 1, "reduction_factor": 3}


def study_of(store: Store, direction: str = "minimize", pruner: type[Any] = StandingHalvingPruner) -> optuna.Study:
    return optuna.create_study(storage=store.trials, direction=direction, pruner=pruner(**HALVING))


def checked(trial: optuna.Trial, *losses: float, sign: float = 1.0) -> list[bool]:
    """Report losses at the steps that follow, and return at which of them the pruner says stop."""
    first = (trial.study._storage.get_trial(trial._trial_id).last_step or 0) + 1
    said = []
    for step, loss in enumerate(losses, first):
        trial.report(sign * loss, step)
        said.append(trial.should_prune())
    return said


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_who_went_on_alone_stops_where_others_did_better_with_less(store: Store, direction: str, sign: float) -> None:
    study = study_of(store, direction)
    first = study.ask()
    assert checked(first, 9.0, 8.0, sign=sign) == [False, False]
    assert checked(study.ask(), 5.0, sign=sign) == [False]
    assert checked(first, 7.5, sign=sign) == [False], "one alone may have been lucky"
    assert checked(study.ask(), 5.0, sign=sign) == [False]
    assert checked(first, 7.0, sign=sign) == [True]


def test_one_other_is_enough_where_it_was_better_at_two_rungs(store: Store) -> None:
    study = study_of(store)
    first, other = study.ask(), study.ask()
    assert checked(first, 9.0, 8.0, 7.9) == [False, False, False]
    assert checked(other, 5.0, 6.0) == [False, False]
    assert checked(first, 7.8) == [False], "the other may have been lucky once"
    assert checked(other, 6.5) == [False]
    assert checked(first, 7.7) == [True], "and it was at two rungs"
    assert checked(other, 9.0) == [False], "who is behind is the first"


def test_who_has_come_further_than_the_one_other_goes_on(store: Store) -> None:
    study = study_of(store)
    first, other = study.ask(), study.ask()
    assert checked(first, 9.0, 8.0, 6.0) == [False, False, False]
    assert checked(other, 5.0, 6.0, 5.5) == [False, False, False]
    assert checked(first, 5.2) == [False], "5.0 was one lucky check"


def test_who_needs_more_steps_but_gets_further_goes_on(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert checked(first, 9.0, 4.0) == [False, False]
    assert checked(study.ask(), 5.0) == checked(study.ask(), 5.0) == [False]
    assert checked(first, 6.0, 6.0) == [False, False]


def test_plain_halving_does_not_ask_again(store: Store) -> None:
    study = study_of(store, pruner=BoundedSuccessiveHalvingPruner)
    first = study.ask()
    assert checked(first, 9.0, 8.0) == [False, False]
    assert checked(study.ask(), 5.0) == checked(study.ask(), 5.0) == [False]
    assert checked(first, 7.0) == [False]


def test_the_better_half_of_those_that_were_there_is_what_counts(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert checked(first, 6.0) == [False]
    for loss in (5.0, 5.5, 7.0, 8.0):
        checked(other := study.ask(), loss)
        study.tell(other, state=TrialState.PRUNED)
    assert checked(first, 7.0) == [False], "the third of the others was at 7"
    for loss in (5.0, 5.5):
        checked(study.ask(), loss)
    assert checked(first, 7.0) == [True], "and now the fourth is at 5.5"


def test_what_is_as_good_as_the_others_were_goes_on(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert checked(first, 9.0, 5.0) == [False, False]
    assert checked(study.ask(), 5.0) == checked(study.ask(), 5.0) == [False]
    assert checked(first, 5.0) == [False]


def test_on_another_storage_it_is_optunas_own() -> None:
    study = optuna.create_study(pruner=StandingHalvingPruner(**HALVING))
    first = study.ask()
    assert checked(first, 9.0, 8.0) == [False, False]
    assert checked(study.ask(), 5.0) == checked(study.ask(), 5.0) == [False]
    assert checked(first, 7.0) == [False]
