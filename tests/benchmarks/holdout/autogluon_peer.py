"""AutoGluon-TimeSeries on one pair, in an interpreter that has it; castpool is not needed there.

    python autogluon_peer.py FOLDER

FOLDER holds ``task.json`` (horizon, freq, seconds, seed, windows), ``train.csv`` and the rows before each test window,
``history-0.csv`` and so on. Written there are the forecasts, ``forecast-0.csv`` and so on, and ``summary.json``.
Pretrained models are left out: castpool has none either.

Source: https://auto.gluon.ai/stable/api/autogluon.timeseries.TimeSeriesPredictor.html
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
PRESET = "medium_quality"
PRETRAINED = ["Chronos", "Chronos2", "Toto", "Toto2"]


def main(folder: Path) -> None:
    """Fit the ensemble on the rows of training, and forecast each window from all rows before it."""
    import pandas as pd
    from autogluon.timeseries import (  # type: ignore[import-not-found]
        TimeSeriesDataFrame,
        TimeSeriesPredictor,
        __version__,
    )

    task = json.loads((folder / "task.json").read_text())

    def read(name: str) -> TimeSeriesDataFrame:
        frame = pd.read_csv(folder / name, dtype={"unique_id": str}, parse_dates=["ds"])
        return TimeSeriesDataFrame.from_data_frame(frame, id_column="unique_id", timestamp_column="ds")

    predictor = TimeSeriesPredictor(
        target="y",
        prediction_length=task["horizon"],
        freq=task["freq"],
        # Its point forecasts are then medians, as castpool's are with its usual loss.
        eval_metric="MAE",
        path=str(folder / "predictor"),
        verbosity=2,
        log_to_file=False,
    )
    imported = time.monotonic() - STARTED
    predictor.fit(
        read("train.csv"),
        presets=PRESET,
        time_limit=max(1, int(task["seconds"] - imported)),
        excluded_model_types=PRETRAINED,
        random_seed=task["seed"],
    )
    fitted = time.monotonic() - STARTED
    for number in range(task["windows"]):
        predicted = predictor.predict(read(f"history-{number}.csv"), random_seed=task["seed"], use_cache=False)
        frame = pd.DataFrame(predicted)["mean"].rename("autogluon").reset_index()
        frame = frame.rename(columns={"item_id": "unique_id", "timestamp": "ds"})
        frame.to_csv(folder / f"forecast-{number}.csv", index=False)
    leaderboard = predictor.leaderboard()
    summary = {
        "version": __version__,
        "seconds": round(fitted, 1),
        "best": predictor.model_best,
        "models": {row.model: round(float(row.score_val), 6) for row in leaderboard.itertuples()},
        "weights": find_weights(predictor),
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def find_weights(predictor: object) -> dict[str, float]:
    """Return the weights of the chosen ensemble; none where a version keeps them elsewhere or one model is chosen."""
    try:
        model = predictor._trainer.load_model(predictor.model_best)  # type: ignore[attr-defined]
        return {str(name): round(float(weight), 4) for name, weight in model.model_to_weight.items()}
    except AttributeError:
        return {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
