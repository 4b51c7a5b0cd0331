"""Measures of a run, and what they warn of."""

from __future__ import annotations

from typing import Any

import pytest

from storage.measures import Tally
from storage.slots import SlotCounts
from workers.measures import as_lines, as_values, measures

GOOD: dict[str, Any] = {
    "attempts": 20, "complete": 12, "pruned": 8, "failed": 0, "median_seconds": 10.0, "longest_seconds": 30.0,
    "memory_mb": 600.0, "training_seconds": 190.0, "working_seconds": 200.0, "runs": 20,
}  # fmt: skip


def found(ended: int = 20, **changed: Any) -> Any:
    counts = SlotCounts(
        slots=20, ended=ended, leased=0, over=None, steps=0, budget_steps=None, seconds=0.0, budget_seconds=None
    )
    return measures(Tally(**{**GOOD, **changed}), counts, machine_mb=8000)


def test_a_good_run_warns_of_nothing() -> None:
    values = as_values(found())
    assert values["warnings"] == []
    assert (values["pruning_rate"], values["failure_rate"], values["training_share"]) == (0.4, 0.0, 0.95)
    assert as_lines(found()) == [
        "a trial takes 10 s (the longest 30 s); 600 MB at most; 40% pruned; 0% failed; "
        "95% of the workers' time in training; 100% in MLflow"
    ]


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"longest_seconds": 201.0}, "trial_duration_longest_seconds is 201, over 20 times the median"),
        ({"memory_mb": 7300.0}, "memory_peak_mb is 7.3e+03, over 90% of a machine's"),
        ({"pruned": 30, "complete": 1}, "pruning_rate is 0.968, over 95%"),
        ({"failed": 3}, "failure_rate is 0.13, over 10%"),
        ({"training_seconds": 150.0}, "training_share is 0.75, under 80%"),
        ({"runs": 18}, "mlflow_completeness is 0.9, castpool sync adds what is missing"),
    ],
)
def test_what_is_past_its_threshold_is_said_with_what_to_do(changed: dict[str, Any], warning: str) -> None:
    (said,) = as_values(found(**changed))["warnings"]
    assert said.startswith(warning)
    assert any(own.startswith(f"warning: {warning}") for own in as_lines(found(**changed)))


def test_few_attempts_say_nothing_of_shares() -> None:
    few = {"attempts": 2, "complete": 0, "pruned": 1, "failed": 1, "training_seconds": 1.0, "runs": None}
    assert as_values(found(ended=2, **few))["warnings"] == []


def test_while_a_study_goes_on_mlflow_may_be_behind() -> None:
    assert as_values(found(ended=19, runs=18))["warnings"] == []


def test_before_anything_has_ended_there_is_nothing_to_measure() -> None:
    nothing = dict.fromkeys(("attempts", "complete", "pruned"), 0) | dict.fromkeys(
        ("median_seconds", "longest_seconds", "memory_mb", "runs")
    )
    assert as_lines(found(ended=0, **nothing, training_seconds=0.0, working_seconds=0.0)) == []
