"""Demoting successive halving on the storage that workers use."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from castpool.sampler_policies.pruners.demoting_halving import DemotingHalvingPruner
from castpool.sampler_policies.pruners.incremental import IncrementalSuccessiveHalvingPruner
from castpool.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")
HALVING = {"min_resource": 1, "reduction_factor": 3}


def study_of(store: Store, direction: str = "minimize", pruner: type[Any] = DemotingHalvingPruner) -> optuna.Study:
    return optuna.create_study(storage=store.trials, direction=direction, pruner=pruner(**HALVING))


def report_losses(trial: optuna.Trial, *losses: float, sign: float = 1.0) -> list[bool]:
    """Report losses at the next steps, and return for each whether the pruner stops the trial."""
    first = (trial.study._storage.get_trial(trial._trial_id).last_step or 0) + 1
    decisions = []
    for step, loss in enumerate(losses, first):
        trial.report(sign * loss, step)
        decisions.append(trial.should_prune())
    return decisions


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_a_trial_promoted_alone_stops_where_others_did_better_with_less(
    store: Store, direction: str, sign: float
) -> None:
    study = study_of(store, direction)
    first = study.ask()
    assert report_losses(first, 9.0, 8.0, sign=sign) == [False, False]
    assert report_losses(study.ask(), 5.0, sign=sign) == [False]
    assert report_losses(first, 7.5, sign=sign) == [False], "a single other trial may have been better by chance"
    assert report_losses(study.ask(), 5.0, sign=sign) == [False]
    assert report_losses(first, 7.0, sign=sign) == [True]


def test_one_other_is_enough_where_it_was_better_at_two_rungs(store: Store) -> None:
    study = study_of(store)
    first, other = study.ask(), study.ask()
    assert report_losses(first, 9.0, 8.0, 7.9) == [False, False, False]
    assert report_losses(other, 5.0, 6.0) == [False, False]
    assert report_losses(first, 7.8) == [False], "the other may have been better by chance once"
    assert report_losses(other, 6.5) == [False]
    assert report_losses(first, 7.7) == [True], "the other was better at two rungs"
    assert report_losses(other, 9.0) == [False], "the first trial is the one behind"


def test_a_trial_better_than_the_one_other_is_not_stopped(store: Store) -> None:
    study = study_of(store)
    first, other = study.ask(), study.ask()
    assert report_losses(first, 9.0, 8.0, 6.0) == [False, False, False]
    assert report_losses(other, 5.0, 6.0, 5.5) == [False, False, False]
    assert report_losses(first, 5.2) == [False], "the other was better at one rung only"


def test_a_trial_that_is_better_after_more_steps_is_not_stopped(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert report_losses(first, 9.0, 4.0) == [False, False]
    assert report_losses(study.ask(), 5.0) == report_losses(study.ask(), 5.0) == [False]
    assert report_losses(first, 6.0, 6.0) == [False, False]


def test_plain_halving_does_not_ask_again(store: Store) -> None:
    study = study_of(store, pruner=IncrementalSuccessiveHalvingPruner)
    first = study.ask()
    assert report_losses(first, 9.0, 8.0) == [False, False]
    assert report_losses(study.ask(), 5.0) == report_losses(study.ask(), 5.0) == [False]
    assert report_losses(first, 7.0) == [False]


def test_the_better_half_of_those_that_were_there_is_what_counts(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert report_losses(first, 6.0) == [False]
    for loss in (5.0, 5.5, 7.0, 8.0):
        report_losses(other := study.ask(), loss)
        study.tell(other, state=TrialState.PRUNED)
    assert report_losses(first, 7.0) == [False], "the third of the others was at 7"
    for loss in (5.0, 5.5):
        report_losses(study.ask(), loss)
    assert report_losses(first, 7.0) == [True], "and now the fourth is at 5.5"


def test_a_trial_as_good_as_the_others_were_is_not_stopped(store: Store) -> None:
    study = study_of(store)
    first = study.ask()
    assert report_losses(first, 9.0, 5.0) == [False, False]
    assert report_losses(study.ask(), 5.0) == report_losses(study.ask(), 5.0) == [False]
    assert report_losses(first, 5.0) == [False]


def test_on_another_storage_it_is_optunas_own() -> None:
    study = optuna.create_study(pruner=DemotingHalvingPruner(**HALVING))
    first = study.ask()
    assert report_losses(first, 9.0, 8.0) == [False, False]
    assert report_losses(study.ask(), 5.0) == report_losses(study.ask(), 5.0) == [False]
    assert report_losses(first, 7.0) == [False]
