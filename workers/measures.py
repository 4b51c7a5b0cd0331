"""Measures of a study's run, each with the value past which something is wrong and what that may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from storage.measures import Tally, tally
from storage.slots import SlotCounts, count
from storage.store import Store
from storage.studies import StoredStudy

# Shares of so few attempts say nothing.
FEWEST_ATTEMPTS = 5
# One attempt that takes so many times the median has probably hung, or is far too large.
LONGEST_OVER_MEDIAN = 20.0
MOST_MEMORY = 0.9
MOST_PRUNED = 0.95
MOST_FAILED = 0.1
LEAST_TRAINING = 0.8


@dataclass(frozen=True)
class Measure:
    """One number about a run.

    Attributes:
        name: as Prometheus writes it, unit included, without ``castpool_``.
        value: None while there is nothing to measure.
        meaning: what it is, for people.
        warning: what may be wrong, where it is past its threshold.
    """

    name: str
    value: float | None
    meaning: str
    warning: str | None = None


def read_measures(store: Store, stored: StoredStudy) -> list[Measure]:
    """Return the measures of a study as it is now."""
    return measures(tally(store.engine, stored.study_id), count(store.engine, stored.study_id))


def measures(numbers: Tally, counts: SlotCounts, machine_mb: float | None = None) -> list[Measure]:
    """Return the measures with their warnings.

    Args:
        numbers: what the storage counts.
        counts: how far the budget is spent.
        machine_mb: the memory of a worker's machine; by default this one's.
    """
    machine_mb = psutil.virtual_memory().total / 2**20 if machine_mb is None else machine_mb
    attempts, judged = numbers.attempts, numbers.complete + numbers.pruned + numbers.failed
    is_enough = judged >= FEWEST_ATTEMPTS
    pruning, failure = _share(numbers.pruned, judged), _share(numbers.failed, judged)
    training = _share(numbers.training_seconds, numbers.working_seconds)
    tracked = None if numbers.runs is None else min(1.0, numbers.runs / attempts) if attempts else 1.0
    median, longest = numbers.median_seconds, numbers.longest_seconds
    is_long = is_enough and bool(median) and longest is not None and longest > LONGEST_OVER_MEDIAN * (median or 0)
    is_large = numbers.memory_mb is not None and numbers.memory_mb > MOST_MEMORY * machine_mb
    return [
        Measure("slots", counts.slots, "trials that are to end"),
        Measure("slots_open", 0 if counts.is_done else counts.slots - counts.ended, "trials still to end"),
        Measure("slots_leased", counts.leased, "trials under way"),
        Measure("attempts", attempts, "attempts that have ended"),
        Measure("training_steps", counts.steps, "training steps of all attempts"),
        Measure("trial_duration_seconds", median, "half of the trials took less"),
        Measure(
            "trial_duration_longest_seconds",
            longest,
            "the longest attempt",
            f"over {LONGEST_OVER_MEDIAN:g} times the median: it hung, or the space has models far too large"
            if is_long
            else None,
        ),
        Measure(
            "memory_peak_mb",
            numbers.memory_mb,
            "the most memory that a worker took",
            f"over {MOST_MEMORY:.0%} of a machine's: bound windows_batch_size in the space, or run fewer workers"
            if is_large
            else None,
        ),
        Measure(
            "pruning_rate",
            pruning,
            "share of trials that the pruner stopped",
            f"over {MOST_PRUNED:.0%}: little is ever trained to its end; try --pruner Median"
            if is_enough and (pruning or 0) > MOST_PRUNED
            else None,
        ),
        Measure(
            "failure_rate",
            failure,
            "share of trials that failed by themselves",
            f"over {MOST_FAILED:.0%}: castpool status and the report say why"
            if is_enough and (failure or 0) > MOST_FAILED
            else None,
        ),
        Measure(
            "training_share",
            training,
            "share of the workers' time spent in training",
            f"under {LEAST_TRAINING:.0%}: trials are shorter than what surrounds them, or the server is slow"
            if is_enough and training is not None and training < LEAST_TRAINING
            else None,
        ),
        Measure(
            "mlflow_completeness",
            tracked,
            "share of attempts of which MLflow has everything",
            "castpool sync adds what is missing" if tracked is not None and tracked < 1 and counts.is_done else None,
        ),
    ]


def as_values(found: Sequence[Measure]) -> dict[str, Any]:
    """Return the measures as JSON values, and the warnings beside them."""
    return {
        **{own.name: None if own.value is None else round(own.value, 4) for own in found},
        "warnings": [_warning(own) for own in found if own.warning],
    }


def as_lines(found: Sequence[Measure]) -> list[str]:
    """Return what a person wants to know of a run: a line of numbers, and one for each warning."""
    by_name = {own.name: own.value for own in found}
    parts = []
    if (median := by_name["trial_duration_seconds"]) is not None:
        parts.append(f"a trial takes {median:.3g} s (the longest {by_name['trial_duration_longest_seconds']:.3g} s)")
    if (memory := by_name["memory_peak_mb"]) is not None:
        parts.append(f"{memory:.0f} MB at most")
    rates = {"pruning_rate": "pruned", "failure_rate": "failed", "training_share": "of the workers' time in training"}
    parts += [f"{by_name[own]:.0%} {words}" for own, words in rates.items() if by_name[own] is not None]
    if (tracked := by_name["mlflow_completeness"]) is not None:
        parts.append(f"{tracked:.0%} in MLflow")
    lines = ["; ".join(parts)] if parts else []
    return lines + [f"warning: {_warning(own)}" for own in found if own.warning]


def _warning(own: Measure) -> str:
    return f"{own.name} is {own.value:.3g}, {own.warning}"


def _share(part: float, whole: float) -> float | None:
    return min(1.0, part / whole) if whole > 0 else None
