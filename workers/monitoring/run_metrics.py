"""Measures of a study's run, each with a threshold and the warning past it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from castpool.storage.budget.kinds import STEPS
from castpool.storage.budget.slots import SlotCounts, count
from castpool.storage.store import Store
from castpool.storage.study.statistics import Tally, tally
from castpool.storage.study.studies import StoredStudy

# Shares of fewer attempts are too uncertain for a warning.
MIN_ATTEMPTS = 5
# An attempt that takes so many times the median has probably hung, or its model is far too large.
MAX_OVER_MEDIAN = 20.0
MAX_MEMORY_SHARE = 0.9
MAX_PRUNED_SHARE = 0.95
MAX_FAILED_SHARE = 0.1
MIN_TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class Measure:
    """One number about a run.

    Attributes:
        name: the name in Prometheus with its unit, without ``castpool_``.
        value: None before there is a value.
        meaning: the description of the measure.
        warning: the likely cause or remedy, if the value is past its threshold.
    """

    name: str
    value: float | None
    meaning: str
    warning: str | None = None


def read_measures(store: Store, stored: StoredStudy) -> list[Measure]:
    """Return the current measures of a study."""
    return compute_measures(tally(store.engine, stored.study_id), count(store.engine, stored.study_id))


def compute_measures(numbers: Tally, counts: SlotCounts, machine_mb: float | None = None) -> list[Measure]:
    """Return the measures with their warnings.

    Args:
        numbers: the statistics of the study.
        counts: the spent budget.
        machine_mb: the memory of a worker's machine; by default this one's.
    """
    machine_mb = psutil.virtual_memory().total / 2**20 if machine_mb is None else machine_mb
    attempts, judged = numbers.attempts, numbers.complete + numbers.pruned + numbers.failed
    is_enough = judged >= MIN_ATTEMPTS
    pruning, failure = _share(numbers.pruned, judged), _share(numbers.failed, judged)
    training = _share(numbers.training_seconds, numbers.working_seconds)
    tracked = None if numbers.runs is None else min(1.0, numbers.runs / attempts) if attempts else 1.0
    median, longest = numbers.median_seconds, numbers.longest_seconds
    is_long = is_enough and bool(median) and longest is not None and longest > MAX_OVER_MEDIAN * (median or 0)
    is_large = numbers.memory_mb is not None and numbers.memory_mb > MAX_MEMORY_SHARE * machine_mb
    return [
        Measure("slots", counts.slots, "trials of the budget"),
        Measure("slots_open", 0 if counts.is_judged else counts.slots - counts.ended, "trials that have not ended"),
        Measure("slots_leased", counts.leased, "trials that are running"),
        Measure("attempts", attempts, "attempts that have ended"),
        Measure("training_steps", STEPS.round(counts.budget(STEPS).spent), "training steps of all attempts"),
        Measure("trial_duration_seconds", median, "median duration of a trial"),
        Measure(
            "trial_duration_longest_seconds",
            longest,
            "duration of the longest attempt",
            f"over {MAX_OVER_MEDIAN:g} times the median: it hung, or the space contains models that are too large"
            if is_long
            else None,
        ),
        Measure(
            "memory_peak_mb",
            numbers.memory_mb,
            "peak memory of a worker",
            f"over {MAX_MEMORY_SHARE:.0%} of the memory: limit windows_batch_size in the space, or run fewer workers"
            if is_large
            else None,
        ),
        Measure(
            "pruning_rate",
            pruning,
            "share of trials that the pruner stopped",
            f"over {MAX_PRUNED_SHARE:.0%}: few trials are trained to the end; try --pruner Median"
            if is_enough and (pruning or 0) > MAX_PRUNED_SHARE
            else None,
        ),
        Measure(
            "failure_rate",
            failure,
            "share of trials that failed",
            f"over {MAX_FAILED_SHARE:.0%}: castpool status and the report show the reasons"
            if is_enough and (failure or 0) > MAX_FAILED_SHARE
            else None,
        ),
        Measure(
            "training_share",
            training,
            "share of the workers' time spent in training",
            f"under {MIN_TRAINING_SHARE:.0%}: trials are shorter than their overhead, or the storage server is slow"
            if is_enough and training is not None and training < MIN_TRAINING_SHARE
            else None,
        ),
        Measure(
            "mlflow_completeness",
            tracked,
            "share of attempts that are complete in MLflow",
            "castpool sync adds the missing attempts"
            if tracked is not None and tracked < 1 and counts.is_done
            else None,
        ),
    ]


def measure_values(measures: Sequence[Measure]) -> dict[str, Any]:
    """Return the measures as JSON values, with the list of warnings."""
    return {
        **{measure.name: None if measure.value is None else round(measure.value, 4) for measure in measures},
        "warnings": [_format_warning(measure) for measure in measures if measure.warning],
    }


def format_measures(measures: Sequence[Measure]) -> list[str]:
    """Return a line with the main measures, and a line for each warning."""
    by_name = {measure.name: measure.value for measure in measures}
    parts = []
    if (median := by_name["trial_duration_seconds"]) is not None:
        parts.append(f"a trial takes {median:.3g} s (the longest {by_name['trial_duration_longest_seconds']:.3g} s)")
    if (memory := by_name["memory_peak_mb"]) is not None:
        parts.append(f"{memory:.0f} MB at most")
    rates = {"pruning_rate": "pruned", "failure_rate": "failed", "training_share": "of the workers' time in training"}
    parts += [f"{by_name[name]:.0%} {words}" for name, words in rates.items() if by_name[name] is not None]
    if (tracked := by_name["mlflow_completeness"]) is not None:
        parts.append(f"{tracked:.0%} in MLflow")
    lines = ["; ".join(parts)] if parts else []
    return lines + [f"warning: {_format_warning(measure)}" for measure in measures if measure.warning]


def _format_warning(measure: Measure) -> str:
    return f"{measure.name} is {measure.value:.3g}, {measure.warning}"


def _share(part: float, whole: float) -> float | None:
    return min(1.0, part / whole) if whole > 0 else None
