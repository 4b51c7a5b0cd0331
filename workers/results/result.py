"""The result of a study: a fitted NeuralForecast, its forecast, and a folder of files. It does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from castpool.errors import CastpoolError

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

    from castpool.workers.evaluation.verdict import Verdict

MODEL_FOLDER = "model"


class NoResultError(CastpoolError, RuntimeError):
    """No trial completed, so there is nothing to fit; the message holds the reasons."""

    exit_code = 1


class NotBetterError(CastpoolError, RuntimeError):
    """The forecast is not better than what ``require_better_than`` names; ``result`` is written all the same."""

    exit_code = 1

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Result:
    """The outcome of a study.

    ``forecast`` has ``unique_id``, ``ds`` and the model's columns, horizon rows a series. ``best`` is the content of
    ``best.json``, and ``trials`` has a row for each attempt. ``out`` holds ``model/`` (for `NeuralForecast.load`) and
    the other files of `castpool.workers.results.output_files`.
    """

    forecast: pd.DataFrame
    best: Mapping[str, Any]
    trials: pd.DataFrame
    out: Path

    def predict(
        self, data: pd.DataFrame | str | None = None, futr_data: pd.DataFrame | str | None = None
    ) -> pd.DataFrame:
        """Return the forecast of the horizon after newer data, averaged where the result is an ensemble.

        Args:
            data: ``unique_id``, ``ds``, ``y`` and the exogenous columns, or a file of them; by default the data that
                the models were fitted on.
            futr_data: the future exogenous columns for the horizon, or a file of them.

        Raises:
            InputError: the data does not fit the models.
        """
        from castpool.workers.results.saved_model import forecast_again

        return forecast_again(self.out, data, futr_data)

    def backtest(
        self,
        windows: int | None = None,
        refit_every: int | None = None,
        step_size: int | None = None,
        *,
        workers: int = 0,
        storage: str | None = None,
        progress: str = "auto",
    ) -> pd.DataFrame:
        """Return the forecasts of past windows by the ensemble, its members' best, the defaults and the baselines.

        A pool of local workers trains them, each time on what is before the windows. The study must be in the storage.

        Args:
            windows: of one horizon each, at the end of each series; by default as many as leave half of the shortest
                series for training, at most 5.
            refit_every: the number of windows that are forecast from one training; by default 1.
            step_size: observations between two cutoffs; by default the horizon.
            workers: local worker processes; 0 is one per core, or as many as the GPUs hold.
            storage: the storage of the study, where it was given to `castpool.tune`.
            progress: ``auto``, ``live``, ``lines`` or ``quiet``.

        Returns:
            ``unique_id``, ``ds``, ``cutoff`` (the last time that the forecast has seen), ``y``, and a column for each
            competitor, under the names of the verdict; errors as in `castpool.backtest`.
        """
        from castpool.workers.backtest import backtest

        return backtest(
            self.out,
            windows=windows,
            refit_every=refit_every,
            step_size=step_size,
            workers=workers,
            storage=storage,
            progress=progress,
        )

    @property
    def verdict(self) -> Verdict | None:
        """How the forecast did on the holdout, beside the default configuration and the baselines; None without one."""
        from castpool.workers.evaluation.verdict import Verdict

        stored = self.best.get("verdict")
        return None if stored is None else Verdict.from_json(stored)

    @cached_property
    def neuralforecast(self) -> NeuralForecast:
        """The fitted models, read from ``out``; neuralforecast takes seconds to import."""
        from castpool.workers.data.hierarchy import load_fitted

        return load_fitted(self.out / MODEL_FOLDER, self.best["reconciliation"])


def require_better(result: Result, name: str | None) -> None:
    """Raise `NotBetterError` unless the forecast is better than a competitor on the holdout; None requires nothing."""
    if name is None:
        return
    from castpool.workers.evaluation.verdict import is_better_than
    from castpool.workers.evaluation.verdict_text import format_sentence

    verdict = result.verdict
    if verdict is None:
        raise NotBetterError(
            f"require_better_than: {name}: the holdout was not forecast, so this cannot be said.", result
        )
    if not is_better_than(verdict, name):
        raise NotBetterError(f"require_better_than: not better than {name}: {format_sentence(verdict)}.", result)


def describe_result(best: Mapping[str, Any]) -> str:
    """Return the outcome of the search and the verdict on the holdout, for notes and pictures."""
    from castpool.workers.evaluation.verdict import Verdict
    from castpool.workers.evaluation.verdict_text import format_sentence

    if best.get("verdict") is None:
        return describe_search(best)
    return f"{describe_search(best)}; on the holdout {format_sentence(Verdict.from_json(best['verdict']))}"


def describe_search(best: Mapping[str, Any]) -> str:
    """Return the outcome as a sentence: the best loss beside that of the default configuration, and the trials."""
    trials = ", ".join(f"{number} {outcome}" for outcome, number in best["trials"].items() if number)
    sentence = f"{best['study']}: best loss {best['value']:.6g} (trial {best['trial']}, step {best['step']})"
    if (default := best["default_value"]) is not None:
        is_below = 0 < best["value"] < default
        change = f", {(1 - best['value'] / default):.1%} below" if is_below else ";"
        sentence += f"{change} the default configuration's {default:.6g}"
    return f"{sentence}; trials: {trials}"
