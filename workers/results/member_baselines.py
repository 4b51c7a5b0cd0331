"""The forecasts of a result's members that are no fitted models: baselines, computed from the data again."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from castpool.workers.evaluation.phases import season_of
from castpool.workers.results.members import Member
from castpool.workers.spec.job import Job


def forecast_baselines(job: Job, members: Sequence[Member]) -> dict[str, pd.DataFrame]:
    """Return the forecasts of the baselines among the members, after the end of the study's data."""
    names = [member.name for member in members if member.study is None]
    history = job.series.frame[["unique_id", "ds", "y"]]
    return forecast_named(names, history, job.spec.horizon, job.series.freq, season_of(job), job.spec.level)


def forecast_named(
    names: Sequence[str],
    history: pd.DataFrame,
    horizon: int,
    freq: str | int,
    season: int,
    level: Sequence[int] = (),
) -> dict[str, pd.DataFrame]:
    """Return the forecasts of baselines by name: ``unique_id``, ``ds`` and columns named after the baseline.

    Args:
        names: of the baselines.
        history: ``unique_id``, ``ds``, ``y``.
        horizon: observations to forecast.
        freq: pandas alias, or the integer step.
        season: observations in a season.
        level: of prediction intervals, in percent.
    """
    if not names:
        return {}
    from castpool.workers.evaluation.baselines import find_baseline

    found = {}
    for name in names:
        predicted = find_baseline(name, season).forecast(history, horizon, freq, level)
        found[name] = predicted.set_axis([str(column).replace("forecast", name, 1) for column in predicted], axis=1)
    return found
