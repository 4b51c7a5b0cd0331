"""A model that `castpool tune` has saved: it forecasts again, from the same data or from newer."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.columns import Columns
from castpool.workers.data.exogenous import Exogenous
from castpool.workers.data.hierarchy import load_fitted
from castpool.workers.data.read_table import read_table
from castpool.workers.data.series_dataset import prepare
from castpool.workers.results.forecast import forecast
from castpool.workers.results.member_baselines import forecast_named
from castpool.workers.results.output_files import BEST_FILE, FORECAST_FILE
from castpool.workers.results.result import MODEL_FOLDER
from castpool.workers.results.weights import read_weights

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

log = logging.getLogger("castpool.forecast")


def forecast_again(
    folder: Path, data: pd.DataFrame | str | None = None, futr_data: pd.DataFrame | str | None = None
) -> pd.DataFrame:
    """Return the horizon after the data that the model was fitted on, or after newer data.

    Args:
        folder: the folder that `castpool tune` wrote, or one that `NeuralForecast.save` wrote.
        data: newer observations in the columns unique_id, ds, y, or a CSV or Parquet file of them.
        futr_data: the future exogenous columns for the horizon, or a file of them.

    Raises:
        InputError: there is no model in the folder, or the data does not fit it.
    """
    saved = folder / MODEL_FOLDER if (folder / MODEL_FOLDER).is_dir() else folder
    if not (saved / "configuration.json").is_file():
        raise InputError("result", folder, "write the folder that castpool tune printed, with 'model' in it.")
    fitted = load_fitted(saved, _reconciliation(saved.parent))
    weights, content = read_weights(saved.parent)
    model = getattr(fitted.models[0], "model", fitted.models[0])
    futr = tuple(model.futr_exog_list)
    if futr and futr_data is None:
        raise InputError("futr_data", "nothing", f"the model needs {', '.join(futr)}: write --futr-data with a file.")
    futr_table = read_table(futr_data) if futr_data is not None else None
    level = content.get("level", ())
    named = [member["baseline"] for member in content.get("members", ()) if "baseline" in member]
    if data is None:
        kept = _kept_baselines(saved.parent, named, fitted)
        return forecast(fitted, futr=futr_table, weights=weights, baselines=kept, level=level)
    series = prepare(
        read_table(data),
        columns=Columns(),
        horizon=fitted.h,
        val_size=0,
        freq=fitted.freq,
        exogenous=Exogenous(tuple(model.hist_exog_list), futr, tuple(model.stat_exog_list)),
        futr_table=futr_table,
        min_length=max(getattr(fit, "model", fit).input_size for fit in fitted.models),
    )
    season = int(content.get("season", 1))
    baselines = forecast_named(named, series.frame[["unique_id", "ds", "y"]], fitted.h, fitted.freq, season, level)
    known = {"df": series.frame, "static": series.static, "futr": series.futr}
    predicted = forecast(fitted, **known, weights=weights, baselines=baselines, level=level)
    if level and not any("-lo-" in column for column in predicted.columns):
        log.warning("the data has other series than the study, whose errors make the intervals: this forecast has none")
    return predicted


def _kept_baselines(folder: Path, names: Sequence[str], fitted: NeuralForecast) -> dict[str, pd.DataFrame]:
    """Return the forecasts of baselines after the data of the fit, as the result's folder has them."""
    if not names:
        return {}
    dates = ["ds"] if isinstance(fitted.freq, str) else None
    kept = pd.read_csv(folder / FORECAST_FILE, parse_dates=dates, dtype={"unique_id": str})
    return {
        name: kept[["unique_id", "ds", *(c for c in kept.columns if c == name or c.startswith(f"{name}-"))]]
        for name in names
    }


def _reconciliation(folder: Path) -> str | None:
    try:
        best = json.loads((folder / BEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a folder that `NeuralForecast.save` wrote has no such file
    name: str | None = best.get("reconciliation")
    return name
