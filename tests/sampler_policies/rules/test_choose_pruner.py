from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, Limit
from castpool.sampler_policies.pruners.demoting_halving import DemotingHalvingPruner
from castpool.sampler_policies.rules.choose_pruner import build_pruner, choose_pruner

# Optuna marks some pruners as experimental.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def budget(trials: int = 20, max_steps: int = 1500, val_check_steps: int = 100, n_objectives: int = 1) -> BudgetFacts:
    return BudgetFacts(trials, 4, max_steps, val_check_steps, n_objectives)


def test_by_default_hyperband_prunes_on_training_steps() -> None:
    decision = choose_pruner(budget(), None, {})
    assert decision.choice == "Hyperband"
    assert decision.arguments == {"min_resource": 100, "max_resource": 1500, "reduction_factor": 3}


def test_the_reason_tells_when_trials_stop() -> None:
    reason = choose_pruner(budget(), None, {}).reason
    assert reason.startswith("poor trials stop after 100 of 1500 steps or 3, 9, ... times as many")


@pytest.mark.parametrize(
    ("facts", "choice", "reason"),
    [
        (budget(trials=1), "Nop", "fewer than 4 trials are too few to compare"),
        (budget(trials=3), "Nop", "fewer than 4 trials are too few to compare"),
        (budget(trials=4), "Median", "4 trials are too few to compare within 3 brackets"),
        (budget(trials=14), "Median", "after 200 steps, which protects slow starters"),
        (budget(trials=15), "Hyperband", ""),
        (budget(max_steps=100), "Nop", "fewer than 3 checks per trial leave no steps to save"),
        (budget(max_steps=299), "Nop", "fewer than 3 checks per trial leave no steps to save"),
        (budget(max_steps=300), "Hyperband", ""),
        (budget(n_objectives=2), "Nop", "pruners compare one objective, and the study has 2"),
    ],
)
def test_nothing_is_pruned_where_there_is_nothing_to_gain(facts: BudgetFacts, choice: str, reason: str) -> None:
    decision = choose_pruner(facts, None, {})
    assert decision.choice == choice
    assert reason in decision.reason


@pytest.mark.parametrize("checks", [3, 8, 9, 20, 27, 100])
def test_brackets_are_counted_as_optuna_counts_them(checks: int) -> None:
    facts = budget(trials=4, max_steps=checks * 10, val_check_steps=10)
    pruner = build_pruner(Decision("pruner", "Hyperband", "", {"min_resource": 10, "max_resource": checks * 10}))
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(1.0, 10)
    trial.should_prune()
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    assert f"within {pruner._n_brackets} brackets" in choose_pruner(facts, None, {}).reason


@pytest.mark.parametrize(
    ("limit", "words"),
    [(Limit(seconds=600.0), "time ends the study"), (Limit(steps=20_000), "training steps end the study")],
)
def test_where_time_or_steps_end_the_study_what_is_saved_buys_more_trials(limit: Limit, words: str) -> None:
    decision = choose_pruner(replace(budget(trials=200), limit=limit), None, {})
    assert (decision.choice, decision.rule) == ("DemotingHalving", "Demoting successive halving")
    assert decision.arguments == {"min_resource": 100, "reduction_factor": 3}
    assert decision.reason.startswith(words)
    assert isinstance(build_pruner(decision), DemotingHalvingPruner)


def test_why_the_others_were_rejected_is_said() -> None:
    decision = choose_pruner(budget(trials=2), None, {})
    assert decision.rule == "none for few trials"
    assert decision.rejected == {
        "none for several objectives": "there is one objective",
        "none for few checks": "15 checks per trial leave steps to save",
        "Demoting successive halving": "the budget is a number of trials",
        "Median": "none for few trials comes first",
        "Hyperband": "none for few trials comes first",
    }


@pytest.mark.parametrize(
    ("given", "arguments", "facts", "caution"),
    [
        ("Median", {}, budget(trials=5), "it waits for 5 complete trials, and the study has 5"),
        ("Wilcoxon", {}, budget(), "it compares validation checks as if they were independent validation windows"),
        (
            "Hyperband",
            {},
            budget(n_objectives=2),
            "Optuna prunes with one objective only, so with 2 no trial is pruned",
        ),
    ],
)
def test_a_pruner_that_was_asked_for_is_used_with_a_caution(
    given: str, arguments: dict[str, Any], facts: BudgetFacts, caution: str
) -> None:
    assert caution in choose_pruner(facts, given, arguments).reason


def test_a_pruner_may_wrap_another() -> None:
    wrapped = {"name": "SuccessiveHalving", "reduction_factor": 2}
    decision = choose_pruner(budget(), "Patient", {"wrapped_pruner": wrapped, "patience": 3})
    pruner = build_pruner(decision)
    assert isinstance(pruner, optuna.pruners.PatientPruner)
    inner = pruner._wrapped_pruner
    assert isinstance(inner, optuna.pruners.SuccessiveHalvingPruner)
    assert (inner._min_resource, inner._reduction_factor) == (100, 2)
    with pytest.raises(InputError, match="write the wrapped pruner's name too"):
        choose_pruner(budget(), "Patient", {"wrapped_pruner": {"patience": 1}, "patience": 3})


def test_a_pruner_may_be_a_path() -> None:
    assert type(build_pruner(choose_pruner(budget(), "optuna.pruners:NopPruner", {}))) is optuna.pruners.NopPruner


@pytest.mark.parametrize("given", ["Median", "median", "MedianPruner"])
def test_the_users_pruner_wins_however_its_name_is_written(given: str) -> None:
    decision = choose_pruner(budget(trials=1), given, {"n_warmup_steps": 200})
    assert (decision.choice, decision.rule) == (given, "user's choice")
    assert decision.arguments == {"n_warmup_steps": 200}
    assert isinstance(build_pruner(decision), optuna.pruners.MedianPruner)


@pytest.mark.parametrize(
    ("given", "arguments", "completed"),
    [
        ("hyperband", {}, {"min_resource": 100, "max_resource": 1500}),
        ("HyperbandPruner", {"max_resource": 900}, {"min_resource": 100, "max_resource": 900}),
        ("Hyperband", {"reduction_factor": 4}, {"min_resource": 100, "max_resource": 1500, "reduction_factor": 4}),
        ("SuccessiveHalving", {}, {"min_resource": 100}),
        ("SuccessiveHalving", {"min_resource": 50}, {"min_resource": 50}),
        ("demotinghalving", {}, {"min_resource": 100}),
        ("standinghalving", {}, {"min_resource": 100}),
        ("Nop", {}, {}),
    ],
    ids=str,
)
def test_resources_that_the_user_left_out_are_never_guessed_by_the_workers(
    given: str, arguments: dict[str, Any], completed: dict[str, Any]
) -> None:
    assert choose_pruner(budget(), given, arguments).arguments == completed


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("Hyperbrand", "pruner: got 'Hyperbrand'; did you mean 'Hyperband'?"),
        ("ASHA", "pruner: got 'ASHA'; write one of DemotingHalving, Hyperband, Median, "),
        ("Base", "pruner: got 'Base'; "),
    ],
)
def test_an_unknown_pruner_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_pruner(budget(), given, {})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("given", "arguments"),
    [("Median", {"warmup": 3}), ("Median", {"n_startup_trials": -1}), ("Percentile", {}), ("Patient", {"patience": 2})],
)
def test_arguments_that_the_pruner_does_not_take_are_refused(given: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        choose_pruner(budget(), given, arguments)
    assert str(caught.value).startswith(f"pruner: got {given}Pruner with {arguments}; it is refused: ")


@pytest.mark.parametrize(
    ("decision", "cls"),
    [
        (choose_pruner(budget(), None, {}), optuna.pruners.HyperbandPruner),
        (choose_pruner(budget(trials=2), None, {}), optuna.pruners.NopPruner),
        (Decision("pruner", "Percentile", "", {"percentile": 25.0}), optuna.pruners.PercentilePruner),
        (Decision("pruner", "Threshold", "", {"upper": 1e6}), optuna.pruners.ThresholdPruner),
    ],
    ids=lambda case: case.choice if isinstance(case, Decision) else "",
)
def test_the_pruner_that_is_built_is_the_one_decided_on(decision: Decision, cls: type[Any]) -> None:
    assert isinstance(build_pruner(decision), cls)


def test_hyperband_is_built_with_the_resources_decided_on() -> None:
    pruner = build_pruner(choose_pruner(budget(), None, {}))
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    assert (pruner._min_resource, pruner._max_resource, pruner._reduction_factor) == (100, 1500, 3)


def test_poor_trials_stop_early_and_the_best_do_not() -> None:
    pruner = build_pruner(choose_pruner(budget(), None, {}))
    study = optuna.create_study(study_name="fixed, because the brackets depend on it", pruner=pruner)
    stopped: dict[int, int] = {}
    for loss in [0, *range(40, 0, -1)]:
        trial = study.ask()
        for step in range(100, 1600, 100):
            trial.report(float(loss), step)
            if trial.should_prune():
                stopped[loss] = step
                break
        study.tell(trial, state=optuna.trial.TrialState.PRUNED) if loss in stopped else study.tell(trial, float(loss))
    assert 0 not in stopped
    assert set(stopped.values()) <= {100, 300, 900}
    assert 100 in stopped.values()
