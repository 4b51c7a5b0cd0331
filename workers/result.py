"""What a user keeps of a study: a fitted NeuralForecast, its forecast, and the files. Without torch, to be quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

MODEL_FOLDER = "model"
FILES = (MODEL_FOLDER, "forecast.csv", "forecast.png", "best.json", "trials.csv", "report.html")


class NoResultError(RuntimeError):
    """No trial completed, so there is nothing to fit; the message holds the reasons."""

    exit_code = 1


@dataclass(frozen=True)
class Result:
    """The outcome of a study. ``forecast`` has ``unique_id``, ``ds`` and the model's columns, horizon rows a series.

    ``out`` holds ``model/`` (for `NeuralForecast.load`), ``forecast.csv`` and ``forecast.png``, ``best.json``,
    ``trials.csv`` and ``report.html``.
    """

    forecast: pd.DataFrame
    best: Mapping[str, Any]
    trials: pd.DataFrame
    out: Path

    @cached_property
    def neuralforecast(self) -> NeuralForecast:
        """The fitted winner, read from ``out``, which takes the seconds that importing neuralforecast takes."""
        from workers.hierarchy import load_fitted

        return load_fitted(self.out / MODEL_FOLDER, self.best["reconciliation"])


def in_a_sentence(best: Mapping[str, Any]) -> str:
    """Return the outcome as a person reads it."""
    trials = ", ".join(f"{number} {outcome}" for outcome, number in best["trials"].items() if number)
    sentence = f"{best['study']}: best loss {best['value']:.6g} (trial {best['trial']}, step {best['step']})"
    if (default := best["default_value"]) is not None:
        change = f", {(1 - best['value'] / default):.1%} below it" if 0 < best["value"] < default else ""
        sentence += f", the default configuration's {default:.6g}{change}"
    return f"{sentence}; trials: {trials}"
