"""The files of a result, one row each: its name in the folder, and the function that writes it.

To add a file, write its function and add its row to `OUTPUT_FILES`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from castpool.workers.results.result import MODEL_FOLDER, describe_result

if TYPE_CHECKING:
    import optuna
    from neuralforecast import NeuralForecast

    from castpool.sampler_policies.spaces.space import Space
    from castpool.workers.data.series_dataset import Series
    from castpool.workers.results.members import Member

BEST_FILE = "best.json"
FORECAST_FILE = "forecast.csv"


@dataclass(frozen=True)
class FittedWinner:
    """What the files are made of: the fitted model, its forecast, and what is known of the study.

    ``best`` is the content of ``best.json``; ``trials`` has a row for each attempt; ``members`` are what is averaged.
    """

    fitted: NeuralForecast
    forecast: pd.DataFrame
    best: Mapping[str, Any]
    trials: pd.DataFrame
    study: optuna.Study
    space: Space | None
    series: Series
    members: tuple[Member, ...]


def _write_model(winner: FittedWinner, path: Path) -> None:
    from castpool.workers.data.hierarchy import save_fitted

    save_fitted(winner.fitted, path, winner.series.hierarchy)


def _write_forecast(winner: FittedWinner, path: Path) -> None:
    winner.forecast.to_csv(path, index=False)


def _write_forecast_plot(winner: FittedWinner, path: Path) -> None:
    from castpool.workers.reporting.forecast_plot import draw_forecast

    path.write_bytes(draw_forecast(winner.series.frame, winner.forecast, describe_result(winner.best)))


def _write_best(winner: FittedWinner, path: Path) -> None:
    path.write_text(json.dumps(winner.best, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_weights(winner: FittedWinner, path: Path) -> None:
    from castpool.workers.results.weights import write_weights

    season = next((d["arguments"]["season"] for d in winner.best["decisions"] if d["subject"] == "season"), 1)
    write_weights(winner.members, season, winner.best["level"], path)


def _write_trials(winner: FittedWinner, path: Path) -> None:
    winner.trials.to_csv(path, index=False)


def _write_report(winner: FittedWinner, path: Path) -> None:
    from castpool.workers.reporting.report import render_report

    page = render_report(
        study=winner.study,
        space=winner.space,
        best=winner.best,
        history=winner.series.frame,
        forecast=winner.forecast,
    )
    path.write_text(page, encoding="utf-8")


# Drawing is imported by the functions that draw: the commands read this table to print the names.
OUTPUT_FILES: Mapping[str, Callable[[FittedWinner, Path], None]] = {
    MODEL_FOLDER: _write_model,
    FORECAST_FILE: _write_forecast,
    "forecast.png": _write_forecast_plot,
    "weights.json": _write_weights,
    BEST_FILE: _write_best,
    "trials.csv": _write_trials,
    "report.html": _write_report,
}


def write_files(winner: FittedWinner, out: Path) -> None:
    """Write every file into the folder ``out``; none, where one cannot be written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system as `out`: a folder that exists may be a mounted one.
    with tempfile.TemporaryDirectory(dir=out if out.is_dir() else out.parent, prefix=f".{out.name}-") as folder:
        complete = Path(folder) / out.name
        complete.mkdir()
        for name, write in OUTPUT_FILES.items():
            write(winner, complete / name)
        _replace_files(complete, out)


def _replace_files(complete: Path, out: Path) -> None:
    # Only castpool's files are replaced: other files in the folder are the user's.
    out.mkdir(exist_ok=True)
    for path in complete.iterdir():
        target = out / path.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
