"""The error of forecasts on held-out test windows, one after the other, each with all data before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean

import pandas as pd

from tests.benchmarks.time_to_loss.pairs import Pair


def windows(pair: Pair, frame: pd.DataFrame, test: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield for each test window the rows before it and the rows in it, sorted by series and time."""
    for index in range(pair.tested):
        before = test.groupby("unique_id").head(index * pair.horizon)
        known = pd.concat([frame, before]).sort_values(["unique_id", "ds"], ignore_index=True)
        actual = test.drop(before.index).groupby("unique_id").head(pair.horizon)
        yield known, actual.reset_index(drop=True)


def rolling_error(
    pair: Pair, frame: pd.DataFrame, test: pd.DataFrame, forecast: Callable[[pd.DataFrame], pd.DataFrame]
) -> float:
    """Return the mean absolute error over all windows and series; ``forecast`` gets the rows before a window."""
    return fmean(mean_absolute_error(actual, forecast(known)) for known, actual in windows(pair, frame, test))


def naive(pair: Pair, frame: pd.DataFrame) -> pd.DataFrame:
    """Forecast each series by its last season."""
    last = frame.groupby("unique_id").tail(pair.season)
    rows = []
    for series, group in last.groupby("unique_id"):
        values = [group["y"].iloc[step % pair.season] for step in range(pair.horizon)]
        rows.append(pd.DataFrame({"unique_id": series, "naive": values}))
    forecast = pd.concat(rows, ignore_index=True)
    dates = pd.date_range(frame["ds"].max(), periods=pair.horizon + 1, freq=pair.freq)[1:]
    forecast["ds"] = list(dates) * (len(forecast) // pair.horizon)
    return forecast


def mean_absolute_error(actual: pd.DataFrame, forecast: pd.DataFrame) -> float:
    """Return the mean absolute error over all series and steps of one window."""
    column = next(name for name in forecast.columns if name not in ("unique_id", "ds"))
    both = actual.merge(forecast, on=["unique_id", "ds"], validate="one_to_one")
    if len(both) != len(actual):
        raise ValueError(f"the forecast is of {len(both)} of {len(actual)} points")
    return float((both[column] - both["y"]).abs().mean())
