"""Baselines: simple methods that every study is compared with, each fitted anew at every cutoff.

Seasonal naive is always there. The statistical models are those of `statsforecast`, an optional package; a model that
fails on a series leaves that series to seasonal naive. Everything runs in the calling process: the workers of a pool
fill the cores already.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.workers.data.time_grid import Frequency, Stamps, following

SEASONAL_NAIVE = "SeasonalNaive"
# Each takes the season, but Croston's method, which knows none.
STATISTICAL = ("AutoETS", "AutoTheta", "CrostonOptimized")
WITHOUT_SEASON = ("CrostonOptimized",)
INSTALL = "pip install 'castpool[baselines]'"
FORECAST = "forecast"


class Baseline(Protocol):
    """A method that forecasts every series from its past alone.

    Attributes:
        name: as it is shown in tables, and as the user writes it.
    """

    name: str

    def forecast(self, history: pd.DataFrame, horizon: int, freq: Frequency, levels: Sequence[int]) -> pd.DataFrame:
        """Forecast the ``horizon`` steps after the end of each series.

        Args:
            history: ``unique_id``, ``ds`` (time stamps or integers) and ``y``, sorted by the first two.
            horizon: steps to forecast.
            freq: pandas' alias of the step, or an integer.
            levels: of prediction intervals, in percent; those that the method cannot give are left out.

        Returns:
            ``unique_id``, ``ds``, ``forecast`` and for each level ``forecast-lo-80`` and ``forecast-hi-80``; horizon
            rows for each series, in the order of ``history``.
        """


class SeasonalNaive:
    """The last season, repeated; a series shorter than a season repeats its last value.

    Its intervals are those of `statsforecast`; without that package there are none.
    """

    def __init__(self, season: int = 1) -> None:
        if season < 1:
            raise InputError("season", season, "write a number of observations of at least 1.")
        self.name = SEASONAL_NAIVE
        self.season = season

    def forecast(self, history: pd.DataFrame, horizon: int, freq: Frequency, levels: Sequence[int]) -> pd.DataFrame:
        """Forecast as `Baseline.forecast` says."""
        grid = future_grid(history, horizon, freq)
        points = repeat_season(history, horizon, self.season)
        if not levels or not is_installed():
            return grid.assign(**{FORECAST: points.ravel()})
        predicted = _run_statsforecast(SEASONAL_NAIVE, self.season, history, horizon, levels)
        return _assemble(grid, points, {**predicted, FORECAST: points}, levels)


class StatisticalModel:
    """A model of `statsforecast`, chosen and fitted for each series by itself."""

    def __init__(self, name: str, season: int = 1) -> None:
        if not is_installed():
            raise InputError("baselines", repr(name), f"install the package of that model: {INSTALL}.")
        if season < 1:
            raise InputError("season", season, "write a number of observations of at least 1.")
        self.name = name
        self.season = season

    def forecast(self, history: pd.DataFrame, horizon: int, freq: Frequency, levels: Sequence[int]) -> pd.DataFrame:
        """Forecast as `Baseline.forecast` says; a series on which the model fails is forecast by seasonal naive."""
        predicted = _run_statsforecast(self.name, self.season, history, horizon, levels)
        naive = repeat_season(history, horizon, self.season)
        return _assemble(future_grid(history, horizon, freq), naive, predicted, levels)


def is_installed() -> bool:
    """Return whether `statsforecast` can be imported."""
    return find_spec("statsforecast") is not None


def gives_intervals(name: str) -> bool:
    """Return whether a baseline forecasts intervals of every level; pretrained models know some levels only."""
    return name in available_baselines() and is_installed()


def available_baselines() -> tuple[str, ...]:
    """Return the names that `find_baseline` takes on this machine, pretrained models apart."""
    return (SEASONAL_NAIVE, *STATISTICAL) if is_installed() else (SEASONAL_NAIVE,)


def find_baseline(name: str, season: int = 1) -> Baseline:
    """Return the baseline of a name, or of a pretrained model's specification, as ``chronos:/path/to/folder``.

    Args:
        name: one of `available_baselines`, or what `castpool.workers.evaluation.zero_shot.load_zero_shot` takes.
        season: observations in a season; 1 is none.

    Raises:
        InputError: an unknown name, a season below 1, or a package that is not installed.
    """
    if name == SEASONAL_NAIVE:
        return SeasonalNaive(season)
    if name in STATISTICAL:
        return StatisticalModel(name, season)
    if ":" in name:
        from castpool.workers.evaluation.zero_shot import load_zero_shot

        return load_zero_shot(name)
    raise InputError("baselines", repr(name), did_you_mean(name, (SEASONAL_NAIVE, *STATISTICAL)))


def evaluate_baseline(
    baseline: Baseline,
    frame: pd.DataFrame,
    freq: Frequency,
    *,
    horizon: int,
    behind: int,
    n_windows: int,
    distance: int,
    levels: Sequence[int] = (),
) -> pd.DataFrame:
    """Forecast windows at the end of each series, each from all observations before it.

    Args:
        baseline: fitted anew for each window.
        frame: ``unique_id``, ``ds`` and ``y`` of all series, sorted by the first two; further columns are not used.
        freq: pandas' alias of the step, or an integer.
        horizon: steps of a window.
        behind: observations of each series after the first window's cutoff.
        n_windows: the number of windows.
        distance: observations between the cutoffs of two windows.
        levels: of prediction intervals, in percent.

    Returns:
        ``unique_id``, ``ds``, ``cutoff`` (the last time that the forecast has seen) and the forecast's columns: series
        by series in the order of ``frame``, then by ``cutoff`` and ``ds``.

    Raises:
        InputError: a series has no observation before the first cutoff, or the last window ends after the series.
    """
    size = horizon + (n_windows - 1) * distance
    if size > behind:
        raise InputError("behind", behind, f"write at least {size}, the observations of {n_windows} windows.")
    left = frame.groupby("unique_id", sort=False).cumcount(ascending=False)
    past = frame[["unique_id", "ds", "y"]]
    lengths = left.groupby(frame["unique_id"], sort=False).max() + 1
    if (short := lengths[lengths <= behind]).size:
        raise InputError("behind", behind, f"write less than {short.iloc[0]}, the length of series {short.index[0]!r}.")
    forecasts = []
    for window in range(n_windows):
        history = past[left >= behind - window * distance].reset_index(drop=True)
        predicted = baseline.forecast(history, horizon, freq, levels)
        cutoffs = np.repeat(history.groupby("unique_id", sort=False)["ds"].max().to_numpy(), horizon)
        predicted.insert(2, "cutoff", pd.Series(cutoffs, index=predicted.index).astype(frame["ds"].dtype))
        forecasts.append(predicted.assign(_series=np.repeat(np.arange(len(lengths)), horizon)))
    # By position: the names of the series may be sorted in another way than pandas would.
    ordered = pd.concat(forecasts).sort_values(["_series", "cutoff", "ds"], kind="stable")
    return ordered.drop(columns="_series").reset_index(drop=True)


def future_grid(history: pd.DataFrame, horizon: int, freq: Frequency) -> pd.DataFrame:
    """Return ``unique_id`` and ``ds`` of the ``horizon`` steps after each series, of the types of ``history``."""
    stamps = Stamps.of(history)
    lasts = stamps.lasts if stamps.is_integer else stamps.lasts.astype("datetime64[ns]")
    ids = history["unique_id"].iloc[np.repeat(stamps.starts, horizon)].reset_index(drop=True)
    times = pd.Series(following(lasts, horizon, freq).ravel(), name="ds").astype(history["ds"].dtype)
    return pd.concat([ids, times], axis=1)


def repeat_season(history: pd.DataFrame, horizon: int, season: int) -> npt.NDArray[np.float64]:
    """Return the last ``season`` values of each series repeated, (series, horizon); the last value of shorter ones."""
    stamps = Stamps.of(history)
    lengths = stamps.lengths[:, None]
    within = np.where(lengths >= season, lengths - season + np.arange(horizon) % season, lengths - 1)
    values: npt.NDArray[np.float64] = history["y"].to_numpy(dtype=np.float64)[stamps.starts[:, None] + within]
    return values


def _run_statsforecast(
    name: str, season: int, history: pd.DataFrame, horizon: int, levels: Sequence[int]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return what a model of `statsforecast` predicts, (series, horizon) by column; ``forecast`` is its name."""
    from statsforecast import StatsForecast, models

    stamps = Stamps.of(history)
    # Numbered series and steps: nothing then depends on how the package sorts names and counts months.
    numbered = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(stamps.starts)), stamps.lengths),
            "ds": np.arange(len(history)) - stamps.per_row(stamps.starts),
            "y": history["y"].to_numpy(dtype=np.float64),
        }
    )
    model = getattr(models, name)(**({} if name in WITHOUT_SEASON else {"season_length": season}))
    fallback = models.SeasonalNaive(season_length=season)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        level: list[Any] | None = sorted(levels) or None
        pool = StatsForecast(models=[model], freq=1, n_jobs=1, fallback_model=fallback)
        predicted = pool.forecast(df=numbered, h=horizon, level=level)
    shape = (len(stamps.starts), horizon)
    return {
        f"{FORECAST}{column.removeprefix(name)}": predicted[column].to_numpy(dtype=np.float64).reshape(shape)
        for column in predicted.columns
        if column.startswith(name)
    }


def _assemble(
    grid: pd.DataFrame,
    naive: npt.NDArray[np.float64],
    predicted: dict[str, npt.NDArray[np.float64]],
    levels: Sequence[int],
) -> pd.DataFrame:
    """Return the forecast as a frame. What the model could not say is seasonal naive, with intervals of no width."""
    points = np.where(np.isfinite(predicted[FORECAST]), predicted[FORECAST], naive)
    columns = {FORECAST: points}
    for name in (f"{FORECAST}-{side}-{level}" for level in levels for side in ("lo", "hi")):
        if name in predicted:
            columns[name] = np.where(np.isfinite(predicted[name]), predicted[name], points)
    return grid.assign(**{name: values.ravel() for name, values in columns.items()})
