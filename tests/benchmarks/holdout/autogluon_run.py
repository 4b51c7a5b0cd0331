"""Run AutoGluon-TimeSeries in an interpreter of its environment, and test it on the same windows."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd

from tests.benchmarks.holdout.castpool_run import run_to_end
from tests.benchmarks.holdout.runs import AUTOGLUON, DELIVERED, Run
from tests.benchmarks.time_to_loss.pairs import Pair
from tests.benchmarks.time_to_loss.rolling import rolling_error, windows

SCRIPT = Path(__file__).with_name("autogluon_peer.py")
# Wall time for the forecasts of the test windows, for which AutoGluon fits its statistical models again.
FORECASTING = 1800.0


def run_autogluon(python: str, pair: Pair, seed: int, budget: float) -> Run:
    """Let AutoGluon fit its preset within ``budget`` seconds of wall time, imports included.

    Args:
        python: the interpreter of an environment with ``autogluon.timeseries``.
        pair: its data; the model is AutoGluon's choice.
        seed: of AutoGluon.
        budget: seconds.

    Raises:
        RuntimeError: the script failed; its last lines.
    """
    frame, test = pair.read()
    with tempfile.TemporaryDirectory(prefix="cp-autogluon-") as name:
        folder = Path(name)
        frame.to_csv(folder / "train.csv", index=False)
        for number, (known, _) in enumerate(windows(pair, frame, test)):
            known.to_csv(folder / f"history-{number}.csv", index=False)
        task = {"horizon": pair.horizon, "freq": pair.freq, "seconds": budget, "seed": seed, "windows": pair.tested}
        (folder / "task.json").write_text(json.dumps(task))
        run_to_end([python, str(SCRIPT), name], budget + FORECASTING, lambda: None)
        summary = json.loads((folder / "summary.json").read_text())
        forecasts = iter(
            pd.read_csv(folder / f"forecast-{number}.csv", dtype={"unique_id": str}, parse_dates=["ds"])
            for number in range(pair.tested)
        )
        error = rolling_error(pair, frame, test, lambda known: next(forecasts))
    version = {"autogluon.timeseries": summary.pop("version")}
    return Run(AUTOGLUON, pair.name, seed, budget, {DELIVERED: error}, chosen=summary, versions=version)
