"""Forecasting again from a model that `castpool tune` has saved."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sampler_policies.errors import InputError
from workers.columns import Columns
from workers.exogenous import Exogenous
from workers.hierarchy import load_fitted
from workers.result import MODEL_FOLDER
from workers.series import prepare
from workers.table import read_table


def forecast_again(folder: Path, data: str | None = None, futr_data: str | None = None) -> pd.DataFrame:
    """Return the horizon after the data that the model was fitted on, or after newer data.

    Args:
        folder: what `castpool tune` wrote, or a folder that `NeuralForecast.save` wrote.
        data: a CSV or Parquet file with newer observations, in the columns unique_id, ds, y.
        futr_data: a file with the future exogenous columns for the horizon.

    Raises:
        InputError: there is no model in the folder, or the data does not fit it.
    """
    saved = folder / MODEL_FOLDER if (folder / MODEL_FOLDER).is_dir() else folder
    if not (saved / "configuration.json").is_file():
        raise InputError("result", folder, "write the folder that castpool tune printed, with 'model' in it.")
    fitted = load_fitted(saved, _reconciliation(saved.parent))
    model = getattr(fitted.models[0], "model", fitted.models[0])
    futr = tuple(model.futr_exog_list)
    if futr and futr_data is None:
        raise InputError("futr_data", "nothing", f"the model needs {', '.join(futr)}: write --futr-data with a file.")
    futr_table = read_table(futr_data) if futr_data is not None else None
    if data is None:
        forecast: pd.DataFrame = fitted.predict(futr_df=futr_table)
        return forecast
    series = prepare(
        read_table(data),
        columns=Columns(),
        horizon=fitted.h,
        val_size=0,
        freq=fitted.freq,
        exogenous=Exogenous(tuple(model.hist_exog_list), futr, tuple(model.stat_exog_list)),
        futr_table=futr_table,
        min_length=model.input_size,
    )
    later: pd.DataFrame = fitted.predict(df=series.frame, static_df=series.static, futr_df=series.futr)
    return later


def _reconciliation(folder: Path) -> str | None:
    try:
        kept = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name: str | None = kept.get("reconciliation")
    return name
