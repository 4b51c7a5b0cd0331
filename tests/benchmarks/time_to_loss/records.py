"""The record of one run: the best loss over time, trials, steps and the winner, as the system stored them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from tests.benchmarks.json_lines import read_json_lines, write_json_lines

# The records of the tables in docs/benchmarks.md. A benchmark adds to them, one run at a time.
MEASURED = Path(__file__).resolve().parents[3] / "docs" / "measured"
# A pair, a seed, a system and a variant.
Key = tuple[str, int, str, str]


@dataclass
class Record:
    """One run of one system on one pair.

    Attributes:
        variant: how the run differed from the usual one; empty if it did not.
        curve: pairs of seconds since the command and the best validation loss by then; it only falls.
        trials: number of ended trials.
        steps: training steps of all trials.
        config: the winner's arguments; None if no trial was finished.
        died: the last line that it printed, if it failed before the end of the budget.
        test: the refitted winner's mean absolute error on the test windows.
    """

    system: str
    pair: str
    seed: int
    budget: float
    curve: list[tuple[float, float]]
    trials: int = 0
    steps: int = 0
    config: dict[str, Any] | None = None
    test: float | None = None
    died: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    variant: str = ""

    @property
    def key(self) -> Key:
        """The pair, seed, system and variant, of which there is one record."""
        return self.pair, self.seed, self.system, self.variant

    @property
    def final(self) -> float:
        """The best loss at the end; infinite where no trial was finished."""
        return self.curve[-1][1] if self.curve else math.inf

    def loss_at(self, seconds: float) -> float:
        """Return the best loss by then."""
        return min((loss for moment, loss in self.curve if moment <= seconds), default=math.inf)

    def time_to(self, loss: float) -> float:
        """Return the seconds until the loss was first reached; infinite if it never was."""
        return next((seconds for seconds, best in self.curve if best <= loss), math.inf)

    def add_to(self, path: Path) -> None:
        """Add it to a file of records, in place of the one with its key."""
        records = {**read_records(path), self.key: self}
        write_json_lines(path, map(asdict, records.values()))


def read_records(path: Path) -> dict[Key, Record]:
    """Return the records of a file; none where there is no file yet."""
    rows = read_json_lines(path)
    records = [Record(**{**row, "curve": [tuple(point) for point in row["curve"]]}) for row in rows]
    return {record.key: record for record in records}


@dataclass(frozen=True)
class Finished:
    """A loss that a system had reached at some moment, and the configuration."""

    seconds: float
    value: float
    config: Mapping[str, Any]


def best_over_time(
    finished: Iterable[Finished], budget: float
) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None]:
    """Return the best value over time within the budget, and the winner's configuration."""
    curve: list[tuple[float, float]] = []
    winner = None
    for result in sorted(finished, key=lambda result: result.seconds):
        if result.seconds <= budget and math.isfinite(result.value) and (not curve or result.value < curve[-1][1]):
            curve.append((round(result.seconds, 2), result.value))
            winner = result.config
    return curve, winner


def read_study(
    trials: Sequence[optuna.trial.FrozenTrial], started: float, budget: float, attribute: str
) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None, int, int]:
    """Read an Optuna study: a trial's loss counts from its completion on. ``attribute`` holds its arguments.

    Returns:
        The curve, the winner's arguments, how many trials ended, and their training steps.
    """
    in_time = [
        trial
        for trial in trials
        if trial.datetime_complete is not None and trial.datetime_complete.timestamp() - started <= budget
    ]
    complete = [trial for trial in in_time if trial.state == TrialState.COMPLETE and trial.value is not None]
    values = [
        Finished(trial.datetime_complete.timestamp() - started, trial.value, trial.user_attrs[attribute])
        for trial in complete
        if trial.datetime_complete is not None and trial.value is not None
    ]
    curve, winner = best_over_time(values, budget)
    ended = [trial for trial in in_time if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    steps = sum(trial.last_step or int(trial.user_attrs.get(attribute, {}).get("max_steps", 0)) for trial in ended)
    return curve, winner, len(ended), steps


def read_ray(
    folder: Path, started: float, budget: float
) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None, int, int]:
    """Read Ray's results: each check counts from its report on, also of a trial that was stopped later."""
    values: list[Finished] = []
    trials = steps = 0
    for path in folder.glob("ray/*/result.json"):
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        rows = [row for row in rows if row["timestamp"] - started <= budget]
        if not rows:
            continue
        trials += 1
        steps += rows[-1]["training_iteration"] * 100  # neuralforecast checks each 100 steps
        values += [Finished(row["timestamp"] - started, float(row["loss"]), row["config"]) for row in rows]
    curve, winner = best_over_time(values, budget)
    return curve, winner, trials, steps
