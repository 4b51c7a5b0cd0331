"""How good forecasts are on the windows that no system saw: one after the other, each with all before it known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean

import pandas as pd

from tests.benchmarks.time_to_loss.pairs import Pair


def windows(pair: Pair, frame: pd.DataFrame, test: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield for each window of the test what is known before it, and what then came, sorted by series and time."""
    for index in range(pair.tested):
        by_now = test.groupby("unique_id").head(index * pair.horizon)
        known = pd.concat([frame, by_now]).sort_values(["unique_id", "ds"], ignore_index=True)
        came = test.drop(by_now.index).groupby("unique_id").head(pair.horizon)
        yield known, came.reset_index(drop=True)


def rolling_error(
    pair: Pair, frame: pd.DataFrame, test: pd.DataFrame, forecast: Callable[[pd.DataFrame], pd.DataFrame]
) -> float:
    """Return the mean absolute error over all windows, series and steps of what ``forecast`` makes of what is known."""
    return fmean(mean_absolute_error(came, forecast(known)) for known, came in windows(pair, frame, test))


def naive(pair: Pair, frame: pd.DataFrame) -> pd.DataFrame:
    """Forecast each series by its last season."""
    last = frame.groupby("unique_id").tail(pair.season)
    rows = []
    for own, group in last.groupby("unique_id"):
        values = [group["y"].iloc[step % pair.season] for step in range(pair.horizon)]
        rows.append(pd.DataFrame({"unique_id": own, "naive": values}))
    forecast = pd.concat(rows, ignore_index=True)
    dates = pd.date_range(frame["ds"].max(), periods=pair.horizon + 1, freq=pair.freq)[1:]
    forecast["ds"] = list(dates) * (len(forecast) // pair.horizon)
    return forecast


def mean_absolute_error(came: pd.DataFrame, forecast: pd.DataFrame) -> float:
    """Return the mean absolute error over all series and steps of one window."""
    column = next(own for own in forecast.columns if own not in ("unique_id", "ds"))
    both = came.merge(forecast, on=["unique_id", "ds"], validate="one_to_one")
    if len(both) != len(came):
        raise ValueError(f"the forecast is of {len(both)} of {len(came)} points")
    return float((both[column] - both["y"]).abs().mean())
