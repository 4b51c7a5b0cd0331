"""What one evaluation does: who is trained, with which seed, and whose windows it forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from castpool.storage.budget.phase import Phase


@dataclass(frozen=True)
class EvaluationTask:
    """One training and the forecasts from it, or the forecasts of a baseline.

    Attributes:
        phase: `Phase.VERIFICATION`, `Phase.HOLDOUT` or `Phase.BACKTEST`.
        trial: the number of the trial whose configuration is trained; None of a baseline.
        step: the step up to which it is trained.
        baseline: the name of the baseline; None of a trial.
        origin: the number of the origin, 0 is the newest one of the verification; always 0 in the other phases.
        behind: observations of each series after the origin.
        windows: of a backtest, the number of windows that are forecast from one training; the others know theirs.
        distance: of a backtest, observations between the beginnings of two windows.
    """

    phase: Phase
    trial: int | None
    step: int
    baseline: str | None
    origin: int
    behind: int
    windows: int | None = None
    distance: int | None = None

    @property
    def candidate(self) -> str:
        """The name by which its forecasts compete: the number of the trial, or the baseline."""
        return str(self.trial) if self.baseline is None else self.baseline

    def seed(self, of_study: int) -> int:
        """Return the random seed of the training: that of the study, but another at each origin of the verification."""
        return (of_study + 1 + self.origin) % 2**32 if self.phase == Phase.VERIFICATION else of_study

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, by which the storage knows whether it was done before."""
        who = {"trial": self.trial, "step": self.step} if self.baseline is None else {"baseline": self.baseline}
        stored = {"phase": self.phase.value, **who, "origin": self.origin, "behind": self.behind}
        return stored if self.windows is None else {**stored, "windows": self.windows, "distance": self.distance}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> EvaluationTask:
        """Rebuild a task from `to_json`."""
        phase, origin, behind = Phase(stored["phase"]), int(stored["origin"]), int(stored["behind"])
        who = stored.get("trial"), int(stored.get("step", 0)), stored.get("baseline")
        return cls(phase, *who, origin, behind, stored.get("windows"), stored.get("distance"))
