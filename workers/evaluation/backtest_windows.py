"""Where the windows of a backtest lie, and the trainings that forecast them.

    |---------- training ----------|= window =|= window =|= window =|
                                   ^ cutoff   ^ cutoff   ^ cutoff   ^ end of the series, the holdout included

The windows are as long as the horizon. A configuration is trained at the first cutoff, and again after every
``refit_every`` windows; the windows in between are forecast from all observations before them. Each training starts
anew, so no weight has seen another training's data; NeuralForecast's ``cross_validation(refit=...)`` would go on from
the weights of the training before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.storage.budget.phase import Phase
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.evaluation.windows import Windows

MOST_WINDOWS = 5
# By default the windows leave at least this part of the shortest series for the first training.
SMALLEST_TRAINING_PART = 2


@dataclass(frozen=True)
class BacktestRequest:
    """What the user asks for; None is chosen by `choose_windows`.

    Attributes:
        windows: the number of windows.
        refit_every: the number of windows that are forecast from one training.
        step_size: observations between two cutoffs.
    """

    windows: int | None = None
    refit_every: int | None = None
    step_size: int | None = None


def refuse_below_one(request: BacktestRequest) -> None:
    """Raise `InputError` for a number below 1."""
    for field, got in vars(request).items():
        if got is not None and got < 1:
            raise InputError(field, got, "write a number of at least 1.")


@dataclass(frozen=True)
class BacktestWindows:
    """The windows at the end of each series.

    Attributes:
        horizon: observations of a window.
        number: of windows.
        refit_every: the number of windows that are forecast from one training.
        step_size: observations between two cutoffs.
    """

    horizon: int
    number: int
    refit_every: int
    step_size: int

    @property
    def size(self) -> int:
        """Observations of each series after the first cutoff."""
        return self.horizon + (self.number - 1) * self.step_size

    @property
    def trainings(self) -> tuple[Windows, ...]:
        """The windows of each training, the oldest first."""
        found = []
        for first in range(0, self.number, self.refit_every):
            count = min(self.refit_every, self.number - first)
            # Of a single window the distance means nothing: one value makes one task of it.
            distance = self.step_size if count > 1 else self.horizon
            behind = self.size - first * self.step_size
            found.append(Windows(behind, self.horizon + (count - 1) * distance, distance))
        return tuple(found)


def choose_windows(
    request: BacktestRequest, horizon: int, lengths: pd.Series[int], fewest: int
) -> tuple[BacktestWindows, str]:
    """Return the windows of a backtest, and a sentence about them.

    By default they follow each other without overlap, as many as leave half of the shortest series for the first
    training, at most `MOST_WINDOWS`; each is forecast by a training of its own, as the result forecasts the future.

    Args:
        request: what the user asks for.
        horizon: observations of a window.
        lengths: observations of each series, by ``unique_id``.
        fewest: observations of each series that a training needs.

    Raises:
        InputError: a number below 1, or windows that a series has no room for.
    """
    refuse_below_one(request)
    step_size = request.step_size or horizon
    name, shortest = str(lengths.idxmin()), int(lengths.min())
    most = (shortest - fewest - horizon) // step_size + 1 if shortest >= fewest + horizon else 0
    needs = f"beside the {fewest} observations that a training needs"
    if most < 1:
        got = f"{request.windows or 1} of {horizon} observations"
        remedy = (
            f"series {name!r} has {shortest}, which leaves no room for one {needs}: a backtest needs longer series."
        )
        raise InputError("windows", got, remedy)
    if request.windows is not None and request.windows > most:
        asked = BacktestWindows(horizon, request.windows, 1, step_size)
        left = shortest - asked.size
        remains = f"which leaves {left} for training" if left > 0 else "which leaves nothing for training"
        remedy = f"series {name!r} has {shortest} observations, {remains}: write at most {most}, {needs}."
        raise InputError("windows", f"{request.windows}, which take {asked.size} observations", remedy)
    half = (shortest - shortest // SMALLEST_TRAINING_PART - horizon) // step_size + 1
    number = request.windows or min(max(1, half), MOST_WINDOWS, most)
    chosen = BacktestWindows(horizon, number, min(request.refit_every or 1, number), step_size)
    return chosen, _describe(chosen, request)


def _describe(chosen: BacktestWindows, request: BacktestRequest) -> str:
    count = len(chosen.trainings)
    trained = "trained once" if count == 1 else f"trained {count} times"
    windows = "1 window" if chosen.number == 1 else f"{chosen.number} windows, {chosen.step_size} observations apart"
    why = ""
    if request.windows is None:
        part = "half of the shortest series is left for training"
        why = f" (by default {f'at most {MOST_WINDOWS}' if chosen.number == MOST_WINDOWS else part})"
    return f"backtest: {windows}{why}, each configuration {trained}"


def plan_tasks(
    windows: BacktestWindows, trials: Sequence[tuple[int, int]], baselines: Sequence[str]
) -> list[EvaluationTask]:
    """Return the tasks of a backtest, the newest windows first.

    Args:
        windows: of the backtest.
        trials: the number and the step of each trial whose configuration is trained.
        baselines: their names.
    """
    everyone = [*((trial, step, None) for trial, step in trials), *((None, 0, name) for name in baselines)]
    return [
        EvaluationTask(Phase.BACKTEST, *who, 0, training.behind, training.count(windows.horizon), training.distance)
        for training in reversed(windows.trainings)
        for who in dict.fromkeys(everyone)
    ]


def windows_of(task: EvaluationTask, horizon: int) -> Windows:
    """Return the windows of a task of a backtest."""
    assert task.windows is not None and task.distance is not None
    return Windows(task.behind, horizon + (task.windows - 1) * task.distance, task.distance)
