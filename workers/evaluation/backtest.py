"""A backtest: the forecasts of past windows by each competitor, and their errors over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from castpool.workers.evaluation.backtest_windows import BacktestWindows
from castpool.workers.evaluation.ensemble import align
from castpool.workers.evaluation.metrics import (
    measure,
    measure_cells,
    metrics_by_name,
    point_column,
    quantile_columns,
)

KEYS = ["unique_id", "ds", "cutoff"]
# The columns of `Backtest.by_window` beside those of the competitors.
CUTOFF, IS_SEARCHED = "cutoff", "is_searched"


@dataclass(frozen=True)
class Backtest:
    """Past windows, forecast as if the future had not been known.

    Attributes:
        frame: ``unique_id``, ``ds``, ``cutoff`` (the last time that the forecast has seen), ``y``, and a column for
            each competitor; of those with intervals also ``<competitor>-lo-80``, ...; horizon rows for each series and
            window.
        metric: that the competitors are compared by: ``wql`` for quantile forecasts, else ``mae``.
        metrics: of each competitor by name, averaged over windows and series; what is delivered is the first.
        by_window: a row for each window, the oldest first: ``cutoff``, the newest of all series; ``is_searched``,
            whether the search has used observations of the window; and the metric of each competitor.
        windows: where they lie.
        notes: what is missing or to be known, as sentences.
    """

    frame: pd.DataFrame
    metric: str
    metrics: Mapping[str, Mapping[str, float]]
    by_window: pd.DataFrame
    windows: BacktestWindows
    notes: tuple[str, ...] = ()

    @property
    def competitors(self) -> list[str]:
        """The names of the competitors, the delivered one first."""
        return list(self.metrics)


def summarize_backtest(
    frames: Mapping[str, pd.DataFrame],
    series: pd.DataFrame,
    windows: BacktestWindows,
    *,
    holdout: int,
    season: int,
    notes: tuple[str, ...] = (),
) -> Backtest:
    """Return a backtest with its errors.

    Args:
        frames: evaluation frames by competitor, with the same keys, what is delivered first.
        series: ``unique_id``, ``ds`` and ``y`` of the whole series, sorted by the first two.
        windows: that the frames forecast.
        holdout: the newest observations of each series that the search has not used.
        season: observations in a season, for MASE.
        notes: sentences to keep.

    Raises:
        InputError: the keys of the frames differ.
    """
    actual = series[["unique_id", "ds", "y"]]
    left = series.groupby("unique_id", sort=False).cumcount(ascending=False)
    history = actual[left >= windows.size]
    metric = "wql" if quantile_columns(next(iter(frames.values()))) else "mae"
    metrics = metrics_by_name(measure(frames, actual, history, season))
    cells = measure_cells(frames, actual, history, season)
    cells = cells[cells["is_usable"] & (cells["metric"] == metric)]
    ranks = cells.groupby("unique_id")["cutoff"].rank(method="dense").astype(int) - 1
    errors = cells.groupby([ranks.rename("window"), "competitor"])["value"].mean().unstack("competitor")
    numbers = np.arange(windows.number)
    cutoffs = _cutoffs(next(iter(frames.values())))
    by_window = pd.DataFrame({CUTOFF: cutoffs.to_numpy()}, index=numbers)
    by_window[IS_SEARCHED] = windows.size - numbers * windows.step_size > holdout
    by_window = by_window.join(errors.reindex(index=numbers, columns=list(frames)))
    return Backtest(_widen(frames, actual), metric, metrics, by_window, windows, notes)


def _cutoffs(frame: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return the newest cutoff of each window over all series, the oldest window first."""
    first = frame.drop_duplicates(["unique_id", "cutoff"])
    ranks = first.groupby("unique_id")["cutoff"].rank(method="dense").astype(int)
    newest: pd.Series[pd.Timestamp] = first.groupby(ranks)["cutoff"].max()
    return newest


def _widen(frames: Mapping[str, pd.DataFrame], actual: pd.DataFrame) -> pd.DataFrame:
    """Return one frame with ``y`` and each competitor's columns under its name."""
    keys = next(iter(frames.values()))[KEYS].reset_index(drop=True)
    wide = keys.merge(actual, on=["unique_id", "ds"], how="left", validate="many_to_one")
    columns = {}
    for name, frame in frames.items():
        aligned, point = align(frame, keys, name), point_column(frame)
        columns[name] = aligned[point]
        for column in quantile_columns(frame).values():
            if column != point:
                columns[f"{name}{column.removeprefix('forecast')}"] = aligned[column]
    return pd.concat([wide, pd.DataFrame(columns)], axis=1)
