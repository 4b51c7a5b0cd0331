"""The record of one run: errors on the test windows, the time of each phase, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from castpool.workers.evaluation.verdict import Comparison, Verdict
from castpool.workers.results.judge import DEFAULT, SINGLE
from castpool.workers.results.judge import SPOKEN as NAMES
from tests.benchmarks.json_lines import read_json_lines, write_json_lines
from tests.benchmarks.time_to_loss.records import Record

# The errors of a run: of the forecast that a user gets, and of two of the configurations that it was chosen from.
DELIVERED = "delivered"
NAIVE = NAMES["SeasonalNaive"]
CASTPOOL, CASTPOOL_AUTO, AUTOGLUON, BASELINES = "castpool", "castpool-auto", "autogluon", "baselines"
# Time in which a worker does nothing for the study, or nothing that was recorded.
IDLE = ("idle", "unknown")
# A pair, a seed and a system.
Key = tuple[str, int, str]


@dataclass
class Run:
    """One run of one system on one pair.

    Attributes:
        budget: seconds of wall time, imports included.
        errors: the mean absolute error on the test windows, by the name of the forecast.
        phases: seconds since the command at which the study entered each phase after the search.
        working: seconds that the workers spent, by phase of their time (`castpool status --profile`).
        verdict: what the holdout said of the delivered forecast, as JSON values; None without one.
        chosen: what was delivered, as JSON values.
    """

    system: str
    pair: str
    seed: int
    budget: float
    errors: dict[str, float] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    working: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The pair, seed and system, of which there is one run."""
        return self.pair, self.seed, self.system

    @property
    def verification_share(self) -> float | None:
        """The share of the budget from the end of the search to the end of the study; None where it is not known."""
        if not {"verification", "done"} <= self.phases.keys():
            return None
        return (self.phases["done"] - self.phases["verification"]) / self.budget

    @property
    def busy_share(self) -> float | None:
        """The share of their time in which the workers worked for the study; None where it is not known."""
        whole = sum(self.working.values())
        return 1 - sum(self.working.get(phase, 0.0) for phase in IDLE) / whole if whole else None

    def add_to(self, path: Path) -> None:
        """Add it to a file of runs, in place of the one with its key."""
        runs = {**read_runs(path), self.key: self}
        write_json_lines(path, map(asdict, runs.values()))

    @classmethod
    def from_record(cls, record: Record) -> Run:
        """Return the run of a peer: a peer without a finished trial has no forecast, and no error."""
        errors = {} if record.test is None else {DELIVERED: record.test}
        chosen = record.config or {}
        return cls(
            record.system, record.pair, record.seed, record.budget, errors, chosen=chosen, versions=record.versions
        )


def read_runs(path: Path) -> dict[Key, Run]:
    """Return the runs of a file; none where there is no file yet."""
    runs = [Run(**row) for row in read_json_lines(path)]
    return {run.key: run for run in runs}


@dataclass(frozen=True)
class Judgement:
    """One comparison of a verdict, and whether the test windows, which follow the holdout, agree on its direction."""

    against: str
    is_certain: bool
    is_right: bool


def judgements(run: Run, others: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield the comparisons of a run's verdict whose test error is known.

    Args:
        run: with a verdict or without.
        others: the test errors of the baselines by name.
    """
    if run.verdict is None or DELIVERED not in run.errors:
        return
    errors = {**others, **{name: run.errors[name] for name in (SINGLE, DEFAULT) if name in run.errors}}
    comparison: Comparison
    for comparison in Verdict.from_json(run.verdict).comparisons:
        if comparison.against in errors:
            gain = np.sign(errors[comparison.against] - run.errors[DELIVERED])
            is_right = bool(np.sign(comparison.gain) == gain)
            yield Judgement(comparison.against, bool(comparison.is_certain), is_right)


def baseline_names(run: Run) -> list[str]:
    """Return the baselines of a run's verdict, and always seasonal naive, by the names of `find_baseline`."""
    spoken = {spoken: name for name, spoken in NAMES.items()}
    judged = Verdict.from_json(run.verdict).competitors if run.verdict is not None else ()
    found = [spoken.get(each.name, each.name) for each in judged if each.kind == "baseline"]
    return list(dict.fromkeys(["SeasonalNaive", *found]))
