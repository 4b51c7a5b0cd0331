"""The metrics of forecasts on windows with known values, all of them computed by utilsforecast.

To add a metric, add a line to `METRICS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from utilsforecast import losses

from castpool.sampler_policies.errors import InputError

POINT, MEDIAN = "forecast", "forecast-median"
CELL = ["unique_id", "cutoff"]
_INTERVAL = re.compile(r"^forecast-(?P<side>lo|hi)-(?P<level>\d+(?:\.\d+)?)$")
_QUANTILE = re.compile(r"^forecast[-_]ql(?P<quantile>0?\.\d+)$")
# A forecast that is wrong by 1 everywhere: its scaled error is finite where the scale of the series can be used.
_REFERENCE = "reference"


class Columns(Enum):
    """Which forecast columns a metric reads."""

    POINT = "point"
    QUANTILES = "quantiles"
    LEVEL = "level"


@dataclass(frozen=True)
class Metric:
    """A metric of utilsforecast.

    Attributes:
        name: in tables; of a coverage the level is appended, as utilsforecast does.
        function: of `utilsforecast.losses`.
        columns: that it reads.
        is_scaled: whether it needs the history of each series, for its scale.
        is_relative: whether it divides by the sum of absolute values of a window.
    """

    name: str
    function: Callable[..., pd.DataFrame]
    columns: Columns = Columns.POINT
    is_scaled: bool = False
    is_relative: bool = False


METRICS = (
    Metric("mae", losses.mae),
    Metric("rmse", losses.rmse),
    Metric("mase", losses.mase, is_scaled=True),
    Metric("rmsse", losses.rmsse, is_scaled=True),
    Metric("smape", losses.smape),
    # Twice the mean pinball loss of a window, over the mean absolute value of that window. It is computed for each
    # window of each series; other packages divide the sums over all series instead.
    Metric("wql", losses.scaled_crps, Columns.QUANTILES, is_relative=True),
    # The mean pinball loss over the scale of MASE, without the factor 2 that other packages apply.
    Metric("sql", losses.scaled_mqloss, Columns.QUANTILES, is_scaled=True),
    Metric("coverage_level", losses.coverage, Columns.LEVEL),
)


def measure(
    frames: Mapping[str, pd.DataFrame], actual: pd.DataFrame, history: pd.DataFrame, season: int
) -> pd.DataFrame:
    """Return each competitor's metrics, averaged over windows and series.

    Args:
        frames: evaluation frames by competitor, with the same keys.
        actual: ``unique_id``, ``ds``, ``y``, of the windows at least.
        history: ``unique_id``, ``ds``, ``y`` up to the first cutoff: the scales of MASE, RMSSE and SQL.
        season: observations in a season; 1 scales by the naive forecast.

    Returns:
        One row for each competitor and metric: ``competitor``, ``metric``, ``value``, ``n_cells`` (windows of series in
        the mean) and ``left_out`` (windows that the metric cannot be computed for: see `measure_cells`).

    Raises:
        InputError: the keys of the frames differ, or a value is not known.
    """
    cells = measure_cells(frames, actual, history, season)
    grouped = cells.groupby(["competitor", "metric"], sort=False)
    # `skipna=False`: a competitor whose forecast is no number has no metric, rather than that of its other windows.
    kept = cells[cells["is_usable"]].groupby(["competitor", "metric"], sort=False)["value"]
    measured = pd.DataFrame({"value": kept.agg(lambda values: values.mean(skipna=False)), "n_cells": kept.size()})
    measured = measured.reindex(grouped.size().index)
    measured["n_cells"] = measured["n_cells"].fillna(0).astype(int)
    measured["left_out"] = grouped.size() - measured["n_cells"]
    return measured.reset_index()


def measure_cells(
    frames: Mapping[str, pd.DataFrame], actual: pd.DataFrame, history: pd.DataFrame, season: int
) -> pd.DataFrame:
    """Return the metrics of each window of each series; arguments and errors as in `measure`.

    Returns:
        ``competitor``, ``metric``, ``unique_id``, ``cutoff``, ``value``, ``is_usable``. Not usable are scaled metrics
        of a series whose history is constant or no longer than a season, and WQL of a window of zeros.
    """
    aliases = {name: str(number) for number, name in enumerate(frames)}
    wide = _join(frames, aliases, actual)
    history = history[["unique_id", "ds", "y"]].sort_values(["unique_id", "ds"])
    names = {alias: name for name, alias in aliases.items()}
    sizes = wide["y"].abs().groupby([wide[key] for key in CELL]).sum()
    quantiles = shared_quantiles(frames)
    found = []
    for metric in METRICS:
        for label, arguments, models in _calls(metric, aliases, frames, quantiles):
            if metric.is_scaled:
                arguments = {**arguments, "seasonality": season, "train_df": history}
            scores = metric.function(wide, **arguments).set_index(CELL).reindex(sizes.index)
            usable = pd.Series(True, index=sizes.index)
            if metric.is_scaled:
                usable = pd.Series(np.isfinite(scores[_REFERENCE]), index=sizes.index)
            if metric.is_relative:
                usable = sizes > 0
            for alias in models:
                scored = pd.DataFrame({"value": scores[alias].astype(float), "is_usable": usable}).reset_index()
                scored.insert(0, "competitor", names[alias])
                scored.insert(1, "metric", label)
                found.append(scored)
    return pd.concat(found, ignore_index=True)


def metrics_by_name(measured: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the metrics that `measure` found by competitor; those that cannot be computed are left out."""
    found: dict[str, dict[str, float]] = {name: {} for name in measured["competitor"].unique()}
    known = measured[np.isfinite(measured["value"])]
    for name, metric, value in zip(known["competitor"], known["metric"], known["value"], strict=True):
        found[name][metric] = float(value)
    return found


def cell_errors(
    frame: pd.DataFrame,
    actual: pd.DataFrame,
    *,
    is_quantile: bool = False,
    quantiles: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Return the error of each window of each series, the mean over its horizon.

    Args:
        frame: an evaluation frame.
        actual: ``unique_id``, ``ds``, ``y``.
        is_quantile: the mean pinball loss over the quantile columns, rather than the absolute error of the point.
        quantiles: of those columns; all by default. Competitors are compared on the same ones (`shared_quantiles`).

    Returns:
        ``unique_id``, ``cutoff``, ``error``, sorted. A frame without quantile columns counts as a distribution of one
        value: the mean pinball loss over symmetric quantiles is then half the absolute error.

    Raises:
        InputError: a value is not known, or a quantile has no column.
    """
    joined = _with_actual(frame, actual)
    if not is_quantile:
        scores: pd.DataFrame = losses.mae(joined.rename(columns={point_column(frame): "error"}), models=["error"])
        return scores[[*CELL, "error"]].sort_values(CELL, ignore_index=True)
    columns = quantile_columns(frame)
    asked = list(quantiles or columns or [0.5])
    columns = columns or dict.fromkeys(asked, point_column(frame))
    if missing := [quantile for quantile in asked if quantile not in columns]:
        raise InputError("quantiles", missing, f"the forecast has {sorted(columns)}.")
    models = {"error": [columns[quantile] for quantile in asked]}
    scores = losses.mqloss(joined, models=models, quantiles=np.array(asked))
    return scores[[*CELL, "error"]].sort_values(CELL, ignore_index=True)


def point_column(frame: pd.DataFrame) -> str:
    """Return the name of the point forecast: the median where there is one, else the quantile that is nearest to it."""
    if MEDIAN in frame.columns or POINT in frame.columns:
        return MEDIAN if MEDIAN in frame.columns else POINT
    # A model of one quantile, as QuantileLoss trains it, forecasts nothing else.
    quantiles = quantile_columns(frame)
    return quantiles[min(quantiles, key=lambda quantile: abs(quantile - 0.5))] if quantiles else POINT


def quantile_columns(frame: pd.DataFrame) -> dict[float, str]:
    """Return the column of each quantile of a forecast, the lowest first; empty where it is a point forecast only.

    ``forecast-lo-80`` and ``forecast-lo-80.0`` are quantile 0.1; the median counts only beside other quantiles.
    """
    found: dict[float, str] = {}
    for column in frame.columns:
        if interval := _INTERVAL.match(column):
            tail = (100 - float(interval["level"])) / 200
            found[round(tail if interval["side"] == "lo" else 1 - tail, 6)] = column
        elif quantile := _QUANTILE.match(column):
            found[round(float(quantile["quantile"]), 6)] = column
    if found and MEDIAN in frame.columns:
        found[0.5] = MEDIAN
    return dict(sorted(found.items()))


def shared_quantiles(frames: Mapping[str, pd.DataFrame]) -> list[float]:
    """Return the quantiles of all frames that have quantiles: a mean over other ones is not comparable."""
    sets = [set(columns) for columns in map(quantile_columns, frames.values()) if columns]
    return sorted(set.intersection(*sets)) if sets else []


def _calls(
    metric: Metric, aliases: Mapping[str, str], frames: Mapping[str, pd.DataFrame], quantiles: Sequence[float]
) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Return the calls of a metric: its name in tables, the arguments, and the competitors that can be measured."""
    if metric.columns is Columns.POINT:
        models = list(aliases.values())
        return [(metric.name, {"models": [*models, *([_REFERENCE] if metric.is_scaled else [])]}, models)]
    models = [alias for name, alias in aliases.items() if quantile_columns(frames[name])]
    if not models or not quantiles:
        return []
    if metric.columns is Columns.QUANTILES:
        columns = {alias: [f"{alias} {quantile}" for quantile in quantiles] for alias in models}
        if metric.is_scaled:
            columns[_REFERENCE] = [_REFERENCE] * len(quantiles)
        return [(metric.name, {"models": columns, "quantiles": np.array(quantiles)}, models)]
    levels = {level: quantile for quantile in quantiles if (level := round(100 - 200 * quantile, 4)) > 0}
    paired = [level for level, quantile in levels.items() if round(1 - quantile, 6) in quantiles]
    return [(f"{metric.name}{level:g}", {"models": models, "level": f"{level:g}"}, models) for level in sorted(paired)]


def _join(frames: Mapping[str, pd.DataFrame], aliases: Mapping[str, str], actual: pd.DataFrame) -> pd.DataFrame:
    """Return one frame with ``y``, the reference, and each competitor's columns under its alias."""
    if not frames:
        raise InputError("competitors", "none", "give at least one forecast.")
    first = next(iter(frames.values()))
    wide = _with_actual(first[["unique_id", "ds", "cutoff"]], actual)
    wide[_REFERENCE] = wide["y"] + 1.0
    for name, frame in frames.items():
        alias, columns = aliases[name], {point_column(frame): aliases[name]}
        chosen = frame[["unique_id", "ds", "cutoff", point_column(frame)]].rename(columns=columns)
        for quantile, column in quantile_columns(frame).items():
            chosen[f"{alias} {quantile}"] = frame[column]
            level = f"{abs(100 - 200 * quantile):g}"
            if quantile != 0.5:
                chosen[f"{alias}-{'lo' if quantile < 0.5 else 'hi'}-{level}"] = frame[column]
        joined = wide.merge(chosen, on=["unique_id", "ds", "cutoff"], how="inner")
        if len(joined) != len(wide) or len(chosen) != len(wide):
            raise InputError("competitors", name, "forecast the same series, times and cutoffs with each.")
        wide = joined
    return wide


def _with_actual(frame: pd.DataFrame, actual: pd.DataFrame) -> pd.DataFrame:
    joined = frame.drop(columns="y", errors="ignore").merge(
        actual[["unique_id", "ds", "y"]], on=["unique_id", "ds"], how="left"
    )
    if joined["y"].isna().any():
        row = joined[joined["y"].isna()].iloc[0]
        raise InputError("actual", f"no y of {row['unique_id']} at {row['ds']}", "measure windows with known values.")
    return joined
