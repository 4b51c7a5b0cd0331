"""Measures of a run, and what they warn of."""

from __future__ import annotations

from typing import Any

import pytest

from castpool.storage.budget.slots import SlotCounts
from castpool.storage.study.statistics import Tally
from castpool.workers.monitoring.run_metrics import compute_measures, format_measures, measure_values

GOOD: dict[str, Any] = {
    "attempts": 20, "complete": 12, "pruned": 8, "failed": 0, "median_seconds": 10.0, "longest_seconds": 30.0,
    "memory_mb": 600.0, "training_seconds": 190.0, "working_seconds": 200.0, "runs": 20,
}  # fmt: skip


def measured(ended: int = 20, **changed: Any) -> Any:
    counts = SlotCounts(slots=20, ended=ended, leased=0)
    return compute_measures(Tally(**{**GOOD, **changed}), counts, machine_mb=8000)


def test_a_good_run_warns_of_nothing() -> None:
    values = measure_values(measured())
    assert values["warnings"] == []
    assert (values["pruning_rate"], values["failure_rate"], values["training_share"]) == (0.4, 0.0, 0.95)
    assert format_measures(measured()) == [
        "a trial takes 10 s (the longest 30 s); 600 MB at most; 40% pruned; 0% failed; "
        "95% of the workers' time in training; 100% in MLflow"
    ]


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"longest_seconds": 201.0}, "trial_duration_longest_seconds is 201, over 20 times the median"),
        ({"memory_mb": 7300.0}, "memory_peak_mb is 7.3e+03, over 90% of the memory"),
        ({"pruned": 30, "complete": 1}, "pruning_rate is 0.968, over 95%"),
        ({"failed": 3}, "failure_rate is 0.13, over 10%"),
        ({"training_seconds": 150.0}, "training_share is 0.75, under 80%"),
        ({"runs": 18}, "mlflow_completeness is 0.9, castpool sync adds the missing attempts"),
    ],
)
def test_a_value_past_its_threshold_warns_with_a_remedy(changed: dict[str, Any], warning: str) -> None:
    (shown,) = measure_values(measured(**changed))["warnings"]
    assert shown.startswith(warning)
    assert any(line.startswith(f"warning: {warning}") for line in format_measures(measured(**changed)))


def test_few_attempts_say_nothing_of_shares() -> None:
    few = {"attempts": 2, "complete": 0, "pruned": 1, "failed": 1, "training_seconds": 1.0, "runs": None}
    assert measure_values(measured(ended=2, **few))["warnings"] == []


def test_while_a_study_goes_on_mlflow_may_be_behind() -> None:
    assert measure_values(measured(ended=19, runs=18))["warnings"] == []


def test_before_anything_has_ended_there_is_nothing_to_measure() -> None:
    nothing = dict.fromkeys(("attempts", "complete", "pruned"), 0) | dict.fromkeys(
        ("median_seconds", "longest_seconds", "memory_mb", "runs")
    )
    assert format_measures(measured(ended=0, **nothing, training_seconds=0.0, working_seconds=0.0)) == []
