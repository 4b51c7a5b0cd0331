from __future__ import annotations

import json
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from castpool.sampler_policies.decision import Decision, format_decisions
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, SpaceFacts
from castpool.sampler_policies.rules.choose_sampler import SAMPLERS, choose_sampler
from castpool.sampler_policies.samplers.build import build_sampler
from castpool.sampler_policies.samplers.phases import PhasedSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
# QMC and GP are marked as experimental or say that they sample some parameters independently.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SPACE = SpaceFacts(n_parameters=7, n_unordered=2)
UNORDERED = SpaceFacts(n_parameters=7, n_unordered=4)
FUNCTION = SpaceFacts(0, 0, branches=True, is_function=True)


def budget(trials: int = 20, workers: int = 1, n_objectives: int = 1) -> BudgetFacts:
    return BudgetFacts(trials, workers, max_steps=1000, val_check_steps=50, n_objectives=n_objectives)


def drawn(sampler: optuna.samplers.BaseSampler, n: int = 6) -> list[tuple[Any, ...]]:
    """Return what a worker with this sampler draws when it is the first of its study."""
    study = optuna.create_study(sampler=sampler)
    space = {"rate": FloatDistribution(0.0, 1.0), "name": CategoricalDistribution(list("abcdefgh"))}
    trials = []
    for _ in range(n):
        trial = study.ask(space)
        trials.append(tuple(trial.params.values()))
        study.tell(trial, 1.0)
    return trials


# The rules


@pytest.mark.parametrize(
    ("space", "facts", "rule", "choice"),
    [
        (SpaceFacts(2, 1, n_points=20), budget(20), "every point", "Exhaustive"),
        (SpaceFacts(2, 1, n_points=21), budget(20), "GP", "Phased"),
        (SPACE, budget(500, n_objectives=2), "generations", "NSGAII"),
        (SPACE, budget(500, n_objectives=4), "generations", "NSGAIII"),
        (SPACE, budget(100, n_objectives=2), "TPE for several objectives", "TPE"),
        (SPACE, budget(5), "space filling", "QMC"),
        (SPACE, budget(6), "GP", "Phased"),
        (FUNCTION, budget(20), "TPE in groups", "TPE"),
        (SPACE, budget(300), "GP", "Phased"),
        (SPACE, budget(301), "GP, then TPE", "Phased"),
        (SPACE, budget(5000), "GP, then TPE", "Phased"),
        (SpaceFacts(7, 0), budget(799), "GP, then TPE", "Phased"),
        (SpaceFacts(7, 0), budget(800), "GP, then CMA-ES", "Phased"),
        (SpaceFacts(8, 4), budget(60), "GP", "Phased"),
        (SpaceFacts(7, 4), budget(60), "TPE", "TPE"),
        (SpaceFacts(21, 0), budget(60), "TPE", "TPE"),
    ],
)
def test_the_facts_decide(space: SpaceFacts, facts: BudgetFacts, rule: str, choice: str) -> None:
    decision = choose_sampler(space, facts, None, {})
    assert (decision.rule, decision.choice) == (rule, choice)
    assert set(decision.rejected) == {candidate.name for candidate in SAMPLERS} - {rule}
    assert decision.reason
    assert all(decision.rejected.values())
    assert type(build_sampler(decision, seed=1)).__name__ == f"{choice}Sampler"


@pytest.mark.parametrize(("trials", "startup"), [(6, 4), (20, 4), (30, 6), (50, 10), (300, 10)])
def test_a_fifth_of_the_trials_fills_the_space_within_limits(trials: int, startup: int) -> None:
    phases = choose_sampler(SPACE, budget(trials), None, {}).arguments["phases"]
    assert phases[0] == {"sampler": "IndexedQMC", "until": startup}


def test_only_a_function_which_may_branch_is_modelled_in_groups() -> None:
    assert choose_sampler(FUNCTION, budget(), None, {}).arguments["group"]
    assert "group" not in choose_sampler(UNORDERED, budget(), None, {}).arguments


def test_the_reason_tells_of_parameters_and_workers() -> None:
    assert choose_sampler(SPACE, budget(), None, {}).reason.startswith("5 of 7 parameters are ordered")
    assert "keeps 8 workers from trying the same" in choose_sampler(SPACE, budget(workers=8), None, {}).reason
    assert "constant_liar keeps 8 workers" in choose_sampler(UNORDERED, budget(workers=8), None, {}).reason


def test_a_single_worker_needs_no_word_about_others() -> None:
    assert "workers" not in choose_sampler(SPACE, budget(workers=1), None, {}).reason


def test_phases_read_as_a_sequence() -> None:
    what = choose_sampler(SPACE, budget(1000), None, {}).what
    assert what.startswith("sampler: IndexedQMC until 10 trials have ended, then CurveGP until 300 trials have ended, ")
    assert what.endswith("then TPE(multivariate=True, constant_liar=True, n_startup_trials=1)")


@pytest.mark.parametrize(
    ("given", "arguments", "space", "facts", "caution"),
    [
        ("CmaEs", {}, SPACE, budget(), "CMA-ES samples the 2 parameters without an order at random"),
        ("CmaEs", {}, FUNCTION, budget(), "CMA-ES samples conditional parameters at random"),
        ("GP", {}, SPACE, budget(600), "a Gaussian process fitted to 600 trials takes seconds per trial"),
        ("GP", {}, FUNCTION, budget(), "a Gaussian process samples conditional parameters at random"),
        ("NSGAII", {}, SPACE, budget(20), "20 trials are less than one generation of 50"),
        (
            "NSGAII",
            {"population_size": 4},
            SPACE,
            budget(20, 8),
            "8 workers are more than the 4 trials of a generation",
        ),
        ("TPE", {"n_startup_trials": 20}, SPACE, budget(20), "its first 20 trials are random, and the study has 20"),
    ],
)
def test_a_sampler_that_was_asked_for_is_used_with_a_caution(
    given: str, arguments: dict[str, Any], space: SpaceFacts, facts: BudgetFacts, caution: str
) -> None:
    decision = choose_sampler(space, facts, given, arguments)
    assert (decision.choice, decision.rule) == (given, "user's choice")
    assert decision.reason.startswith("set by the user; ")
    assert caution in decision.reason


@pytest.mark.parametrize("given", ["optuna.samplers:RandomSampler", "optuna.samplers._random.RandomSampler"])
def test_a_sampler_may_be_a_path(given: str) -> None:
    assert type(build_sampler(choose_sampler(SPACE, budget(), given, {}), seed=1)) is optuna.samplers.RandomSampler


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "nowhere.at:All",
            "sampler: got 'nowhere.at:All'; write package.module:Class, and the folder of the module as --import-from; "
            "No module named 'nowhere'.",
        ),
        ("optuna.samplers:Nothing", "sampler: got 'optuna.samplers:Nothing'; write package.module:Class; "),
        ("optuna.pruners:NopPruner", "write the path of a subclass of Optuna's BaseSampler."),
        ("json:dumps", "write the path of a subclass of Optuna's BaseSampler."),
    ],
)
def test_a_path_that_leads_to_no_sampler_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_sampler(SPACE, budget(), given, {})
    assert sentence in str(caught.value)


@pytest.mark.parametrize("given", ["Random", "random", "RandomSampler", "randomsampler"])
def test_the_users_sampler_wins_however_its_name_is_written(given: str) -> None:
    decision = choose_sampler(SPACE, budget(), given, {})
    assert (decision.choice, decision.reason) == (given, "set by the user")
    assert type(build_sampler(decision, seed=1)) is optuna.samplers.RandomSampler


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("TEP", "sampler: got 'TEP'; did you mean 'TPE'?"),
        ("hyperopt", "sampler: got 'hyperopt'; write one of BruteForce, CmaEs, CurveGP, "),
        ("Base", "sampler: got 'Base'; "),
        ("nsgaii_crossover", "sampler: got 'nsgaii_crossover'; "),
    ],
)
def test_an_unknown_sampler_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_sampler(SPACE, budget(), given, {})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("given", "arguments", "sentence"),
    [
        ("TPE", {"startup": 3}, "sampler: got TPESampler with {'startup': 3"),
        ("QMC", {"qmc_type": "sobel"}, "sampler: got QMCSampler with {"),
        ("Grid", {}, "sampler: got GridSampler with {"),
    ],
)
def test_arguments_that_the_sampler_does_not_take_are_refused(
    given: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        choose_sampler(SPACE, budget(), given, arguments)
    assert str(caught.value).startswith(sentence)
    assert "it is refused: " in str(caught.value)


@pytest.mark.parametrize("seed", [-1, "1", 1.5, True])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="write a whole number of at least 0"):
        choose_sampler(SPACE, budget(), "TPE", {"seed": seed})


def test_a_sampler_whose_package_is_missing_is_refused_before_the_first_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"^sampler: got 'cmaes'; it needs a package: pip install cmaes\."):
        choose_sampler(SPACE, budget(), "cmaes", {})


# Building


@pytest.mark.parametrize(
    ("decision", "cls"),
    [
        (choose_sampler(SPACE, budget(), None, {}), PhasedSampler),
        (choose_sampler(FUNCTION, budget(), None, {}), optuna.samplers.TPESampler),
        (Decision("sampler", "GP", ""), optuna.samplers.GPSampler),
        (Decision("sampler", "QMC", ""), optuna.samplers.QMCSampler),
        (Decision("sampler", "NSGAII", "", {"population_size": 8}), optuna.samplers.NSGAIISampler),
        (Decision("sampler", "BruteForce", ""), optuna.samplers.BruteForceSampler),
        (Decision("sampler", "Grid", "", {"search_space": {"a": [1, 2]}}), optuna.samplers.GridSampler),
    ],
    ids=lambda case: case.choice if isinstance(case, Decision) else "",
)
def test_the_sampler_that_is_built_is_the_one_decided_on(decision: Decision, cls: type[Any]) -> None:
    assert type(build_sampler(decision, seed=1)) is cls


def test_tpe_is_built_with_the_arguments_decided_on() -> None:
    sampler = build_sampler(choose_sampler(FUNCTION, budget(50), None, {}), seed=1)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert (sampler._multivariate, sampler._group, sampler._constant_liar) == (True, True, True)
    assert sampler._n_startup_trials == 10


@pytest.mark.parametrize("name", ["TPE", "Random", "NSGAII", "GP"])
@pytest.mark.parametrize("arguments", [{}, {"seed": 42}], ids=["no seed", "seed 42"])
def test_two_workers_draw_different_points(name: str, arguments: dict[str, Any]) -> None:
    decision = Decision("sampler", name, "", arguments)
    assert drawn(build_sampler(decision, seed=1)) != drawn(build_sampler(decision, seed=2))


@pytest.mark.parametrize("name", ["TPE", "Random", "QMC"])
def test_one_worker_draws_the_same_points_again(name: str) -> None:
    decision = Decision("sampler", name, "")
    assert drawn(build_sampler(decision, seed=7)) == drawn(build_sampler(decision, seed=7))


def test_the_users_seed_changes_what_is_drawn() -> None:
    seeded, other = (Decision("sampler", "Random", "", {"seed": seed}) for seed in (5, 6))
    assert drawn(build_sampler(seeded, seed=1)) != drawn(build_sampler(other, seed=1))


@pytest.mark.parametrize("arguments", [{"scramble": True}, {"scramble": True, "seed": 3}], ids=str)
def test_workers_share_one_qmc_sequence(arguments: dict[str, Any]) -> None:
    sequences = [build_sampler(Decision("sampler", "QMC", "", arguments), seed) for seed in (1, 2)]
    rates = [[rate for rate, _ in drawn(sampler)] for sampler in sequences]
    assert rates[0][1:] == rates[1][1:]  # the first trial shows the sampler what the space is


def test_what_qmc_samples_beside_its_sequence_is_each_workers_own() -> None:
    names = [[name for _, name in drawn(build_sampler(Decision("sampler", "QMC", ""), seed))] for seed in (1, 2)]
    assert names[0] != names[1]


def test_a_seed_beyond_what_numpy_takes_is_no_problem() -> None:
    big = 10**6 * 1_000_003
    decision = Decision("sampler", "Random", "")
    assert drawn(build_sampler(decision, seed=big)) != drawn(build_sampler(decision, seed=big + 1))


def test_building_the_default_sampler_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build_sampler(choose_sampler(SPACE, budget(), None, {}), seed=1)


# Decisions


def test_a_decision_reads_as_a_sentence() -> None:
    decision = Decision("pruner", "Hyperband", "it saves steps", {"min_resource": 50, "reduction_factor": 3})
    assert str(decision) == "pruner: Hyperband(min_resource=50, reduction_factor=3), because it saves steps"


def test_a_decision_without_arguments_has_no_brackets() -> None:
    assert str(Decision("max_steps", "500", "it is the longest")) == "max_steps: 500, because it is the longest"


def test_decisions_are_one_line_each() -> None:
    text = format_decisions([Decision("a", "1", "x; z"), Decision("b", "2", "y")])
    assert text == "a: 1\n    x\n    z\nb: 2\n    y"


def test_a_decision_comes_back_from_json_as_it_was() -> None:
    decision = choose_sampler(SPACE, budget(), "TPE", {"n_startup_trials": 3})
    assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision
