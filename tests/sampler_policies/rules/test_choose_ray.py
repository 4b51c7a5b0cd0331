"""The decisions of the policies of the Ray back-end, and the objects built from them."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, SamplerFacts, SpaceFacts
from castpool.sampler_policies.rules.choose_ray import (
    build_scheduler,
    build_searcher,
    choose_scheduler,
    choose_searcher,
)
from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space

BUDGET = BudgetFacts(trials=20, workers=2, max_steps=1000, val_check_steps=50)
FACTS = SamplerFacts(SpaceFacts(7, 3), BUDGET)
SPACE = Space(
    (
        Parameter("learning_rate", "float", FloatDistribution(1e-4, 1e-2, log=True)),
        Parameter("layers", "int", IntDistribution(1, 4)),
        from_choices("hidden_size", [32, 64, 128]),
        from_choices("scaler_type", ["robust", None]),
    )
)


def test_the_studys_sampler_suggests() -> None:
    decision = choose_searcher(FACTS, None, {})
    assert decision.choice == "OptunaSearch"
    assert decision.rejected == {"every point once": "a continuous parameter has infinitely many points"}
    assert build_searcher(decision, SPACE, 1) is None


def test_a_tiny_space_is_tried_whole() -> None:
    decision = choose_searcher(SamplerFacts(SpaceFacts(2, 1, n_points=12), BUDGET), None, {})
    assert (decision.choice, decision.rule) == ("BasicVariant", "every point once")
    assert "12 points" in decision.reason


def test_a_searcher_that_was_asked_for_suggests_from_the_studys_space() -> None:
    decision = choose_searcher(FACTS, "hyperopt", {"n_initial_points": 5})
    assert (decision.rule, decision.arguments) == ("user's choice", {"n_initial_points": 5})
    searcher = build_searcher(decision, SPACE, 1)
    suggested = searcher.suggest("a")
    assert set(suggested) == {"learning_rate", "layers", "hidden_size", "scaler_type"}
    assert SPACE.decode(SPACE.encode(suggested)) == suggested


@pytest.mark.parametrize(
    ("name", "arguments", "facts", "sentence"),
    [
        ("Hyperpot", {}, FACTS, "searcher: got 'Hyperpot'; did you mean 'HyperOpt'?"),
        ("json:dumps", {}, FACTS, "searcher: got 'json:dumps'; write the path of a subclass of Ray's Searcher."),
        (
            "HyperOpt",
            {},
            SamplerFacts(SpaceFacts(3, 0, branches=True), BUDGET),
            "searcher: got 'HyperOpt'; the space branches, which only OptunaSearch supports: leave it out.",
        ),
        (
            "Optuna",
            {"seed": 3},
            FACTS,
            "searcher: got {'seed': 3}; OptunaSearch asks the study's sampler: write --sampler instead.",
        ),
    ],
)
def test_a_searcher_that_cannot_work(name: str, arguments: dict[str, Any], facts: SamplerFacts, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_searcher(facts, name, arguments)
    assert str(caught.value) == sentence


def test_arguments_that_a_searcher_does_not_take() -> None:
    decision = choose_searcher(FACTS, "HyperOpt", {"gama": 1})
    with pytest.raises(InputError, match=r"searcher: got HyperOptSearch with .*gama"):
        build_searcher(decision, SPACE, 1)


def test_the_resource_of_asha_is_checks() -> None:
    decision = choose_scheduler(BUDGET, None, {})
    assert decision.choice == "ASHA"
    assert decision.arguments == {"max_t": 20, "grace_period": 3, "reduction_factor": 3}
    scheduler = build_scheduler(decision, SPACE)
    assert type(scheduler).__name__ == "AsyncHyperBandScheduler"


@pytest.mark.parametrize(
    ("budget", "rule"),
    [
        (BudgetFacts(20, 2, 1000, 50, n_objectives=2), "none for several objectives"),
        (BudgetFacts(3, 2, 1000, 50), "none for few trials"),
        (BudgetFacts(20, 2, 100, 50), "none for few checks"),
    ],
)
def test_where_there_is_nothing_to_save_nothing_is_stopped(budget: BudgetFacts, rule: str) -> None:
    decision = choose_scheduler(budget, None, {})
    assert (decision.choice, decision.rule) == ("FIFO", rule)
    assert type(build_scheduler(decision, SPACE)).__name__ == "FIFOScheduler"


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("asha", "AsyncHyperBandScheduler"),
        ("HyperBand", "HyperBandScheduler"),
        ("MedianStopping", "MedianStoppingRule"),
        ("PBT", "PopulationBasedTraining"),
        ("ray.tune.schedulers:HyperBandForBOHB", "HyperBandForBOHB"),
    ],
)
def test_a_scheduler_that_was_asked_for_is_built(name: str, cls: str) -> None:
    decision = choose_scheduler(BUDGET, name, {})
    assert decision.rule == "user's choice"
    assert type(build_scheduler(decision, SPACE)).__name__ == cls
    assert ("no checkpoints" in decision.reason) == (name == "PBT")


def test_an_unknown_scheduler() -> None:
    with pytest.raises(InputError, match="did you mean 'ASHA'"):
        build_scheduler(choose_scheduler(BUDGET, "ASHAA", {}), SPACE)
