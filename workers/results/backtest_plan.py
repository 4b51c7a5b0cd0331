"""A planned backtest: the windows, and of what the forecast of each competitor is made. It is quick to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from castpool.workers.evaluation.backtest_windows import BacktestWindows, plan_tasks
from castpool.workers.evaluation.task import EvaluationTask


@dataclass(frozen=True)
class Part:
    """What is trained or computed for the windows: a configuration of a study, or a baseline.

    Attributes:
        study: its name.
        trial: the number of the trial; None of a baseline.
        step: up to which it is trained.
        baseline: the name of the baseline; None of a trial.
    """

    study: str
    trial: int | None = None
    step: int = 0
    baseline: str | None = None

    def tasks(self, windows: BacktestWindows) -> list[EvaluationTask]:
        """Return its evaluations, the newest windows first."""
        trials = [] if self.trial is None else [(self.trial, self.step)]
        return plan_tasks(windows, trials, [] if self.baseline is None else [self.baseline])


@dataclass(frozen=True)
class PlannedBacktest:
    """A backtest whose tasks are in the storage.

    Attributes:
        study: the name of the study of the single winner.
        competitors: the weights of the parts of each, by the name that the verdict uses; the delivered one first.
        windows: to forecast.
        sentence: what is done, for the user.
        unfinished: the names of the studies that workers still have to serve.
    """

    study: str
    competitors: Mapping[str, Mapping[Part, float]]
    windows: BacktestWindows
    sentence: str
    unfinished: tuple[str, ...]

    @property
    def parts(self) -> list[Part]:
        """All parts, each once."""
        return find_parts(self.competitors)


def find_parts(competitors: Mapping[str, Mapping[Part, float]]) -> list[Part]:
    """Return the parts of all competitors, each once."""
    return list(dict.fromkeys(part for weights in competitors.values() for part in weights))
