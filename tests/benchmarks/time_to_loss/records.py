"""What a system's own records say of a run: the best loss over time, trials, steps, the winner."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

# What was measured for the docs, and goes on being: a seed at a time.
KEPT = Path(__file__).resolve().parents[3] / "docs" / "measured"
# A pair, a seed, a system and a variant.
Key = tuple[str, int, str, str]


@dataclass
class Record:
    """One run of one system on one pair.

    Attributes:
        variant: what was otherwise than usual, in words.
        curve: pairs of seconds since the command and the best validation loss by then; it only falls.
        trials: that ended, whichever way.
        steps: training steps of all of them.
        config: the winner's arguments; None where nothing was finished.
        died: what it said last, where it did not live to the end of the budget.
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
        """What there is one record of."""
        return self.pair, self.seed, self.system, self.variant

    @property
    def final(self) -> float:
        """The best loss at the end; infinite where no trial was finished."""
        return self.curve[-1][1] if self.curve else math.inf

    def loss_at(self, seconds: float) -> float:
        """Return the best loss by then."""
        return min((loss for own, loss in self.curve if own <= seconds), default=math.inf)

    def time_to(self, loss: float) -> float:
        """Return when so good a loss was first reached; infinite where it never was."""
        return next((seconds for seconds, own in self.curve if own <= loss), math.inf)

    def keep(self, path: Path) -> None:
        """Append it to a file, a line a record."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(asdict(self)) + "\n")


def kept(path: Path) -> dict[Key, Record]:
    """Return the records that a file keeps; none where there is no file yet."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    records = [Record(**{**row, "curve": [tuple(own) for own in row["curve"]]}) for row in rows]
    return {own.key: own for own in records}


@dataclass(frozen=True)
class Finished:
    """A value that a system had at some moment, and what with."""

    seconds: float
    value: float
    config: Mapping[str, Any]


def falling(finished: Iterable[Finished], budget: float) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None]:
    """Return the best value over time within the budget, and the winner's configuration."""
    curve: list[tuple[float, float]] = []
    winner = None
    for own in sorted(finished, key=lambda one: one.seconds):
        if own.seconds <= budget and math.isfinite(own.value) and (not curve or own.value < curve[-1][1]):
            curve.append((round(own.seconds, 2), own.value))
            winner = own.config
    return curve, winner


def of_study(
    trials: Sequence[optuna.trial.FrozenTrial], started: float, budget: float, attribute: str
) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None, int, int]:
    """Read an Optuna study: a trial's loss counts from when it completed. ``attribute`` holds its arguments.

    Returns:
        The curve, the winner's arguments, how many trials ended, and their training steps.
    """
    in_time = [
        own
        for own in trials
        if own.datetime_complete is not None and own.datetime_complete.timestamp() - started <= budget
    ]
    complete = [own for own in in_time if own.state == TrialState.COMPLETE and own.value is not None]
    values = [
        Finished(own.datetime_complete.timestamp() - started, own.value, own.user_attrs[attribute])
        for own in complete
        if own.datetime_complete is not None and own.value is not None
    ]
    curve, winner = falling(values, budget)
    ended = [own for own in in_time if own.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    steps = sum(own.last_step or int(own.user_attrs.get(attribute, {}).get("max_steps", 0)) for own in ended)
    return curve, winner, len(ended), steps


def of_ray(
    folder: Path, started: float, budget: float
) -> tuple[list[tuple[float, float]], Mapping[str, Any] | None, int, int]:
    """Read Ray's results: each reported check counts when it was reported, also of a trial that was stopped later."""
    values: list[Finished] = []
    trials = steps = 0
    for path in folder.glob("ray/*/result.json"):
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        rows = [own for own in rows if own["timestamp"] - started <= budget]
        if not rows:
            continue
        trials += 1
        steps += rows[-1]["training_iteration"] * 100  # neuralforecast checks each 100 steps
        values += [Finished(own["timestamp"] - started, float(own["loss"]), own["config"]) for own in rows]
    curve, winner = falling(values, budget)
    return curve, winner, trials, steps
