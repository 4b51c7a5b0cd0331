"""How castpool forecasts with a fitted `NeuralForecast`: for `forecast.csv`, for `castpool forecast`, and in MLflow.

MLflow gets a copy of this file beside the model and runs it where castpool may be missing: it must import none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

ENSEMBLE = "ensemble"
KEYS = ("unique_id", "ds")


def forecast(
    fitted: NeuralForecast,
    *,
    df: pd.DataFrame | None = None,
    static: pd.DataFrame | None = None,
    futr: pd.DataFrame | None = None,
    weights: Mapping[str, float] | None = None,
    baselines: Mapping[str, pd.DataFrame] | None = None,
    level: Sequence[int] = (),
) -> pd.DataFrame:
    """Return ``unique_id``, ``ds`` and the models' columns, horizon rows a series; first the ensemble's, if any.

    The forecasts of a hierarchy add up: there the fitted model is neuralforecast's HINT, which reconciles them.

    Args:
        fitted: the fitted models.
        df: ``unique_id``, ``ds``, ``y`` and historical exogenous columns to forecast from; by default the data that the
            model was fitted on.
        static: ``unique_id`` and the static columns of ``df``, one row a series.
        futr: ``unique_id``, ``ds`` and the future exogenous columns, for the horizon.
        weights: the weight of each member of the ensemble, by the name of its columns; None is no ensemble.
        baselines: the forecasts of members that are not fitted models, by name: ``unique_id``, ``ds`` and columns named
            after the member.
        level: of the intervals that the models were fitted for, in percent. Other series than those of the fit are
            forecast without intervals.
    """
    # Each series of the fit has its own errors, which NeuralForecast takes by their place: those of another series
    # would be taken without a word.
    has_intervals = bool(level) and (df is None or set(df["unique_id"]) == set(fitted.uids))
    asked = {"level": list(level)} if has_intervals else {}
    predicted: pd.DataFrame = fitted.predict(df=df, static_df=static, futr_df=futr, **asked)
    for frame in (baselines or {}).values():
        predicted = predicted.merge(frame, on=list(KEYS), how="left", validate="one_to_one")
    return add_ensemble(predicted, weights) if weights else predicted


def add_ensemble(predicted: pd.DataFrame, weights: Mapping[str, float]) -> pd.DataFrame:
    """Return a forecast with the weighted average of its members before their columns: quantiles are averaged too.

    Args:
        predicted: ``unique_id``, ``ds`` and the columns of each member: its name, or its name and ``-median``,
            ``-lo-80``, ...
        weights: the weight of each member by its name; they sum to 1.
    """
    suffixes = [_suffixes(predicted, name) for name in weights]
    shared = [suffix for suffix in suffixes[0] if all(suffix in others for others in suffixes)]
    averages = {
        f"{ENSEMBLE}{suffix}": sum(weight * predicted[f"{name}{suffix}"] for name, weight in weights.items())
        for suffix in shared
    }
    rest = [column for column in predicted.columns if column not in KEYS]
    return pd.concat([predicted[list(KEYS)], pd.DataFrame(averages), predicted[rest]], axis=1)


def _suffixes(predicted: pd.DataFrame, name: str) -> list[str]:
    """Return what follows a member's name in its columns: nothing, ``-median``, ``-lo-80``, ``_ql0.3``."""
    columns = [column for column in predicted.columns if re.fullmatch(rf"{re.escape(name)}(-.+|_ql.+)?", column)]
    return [column.removeprefix(name) for column in columns]
