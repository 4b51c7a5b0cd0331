"""The weights of an ensemble, selected on forecasts with known values, and the weighted average of forecasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.metrics import point_column, quantile_columns

# Weights have to be better than equal ones by more than chance: with fewer windows than two for each of the at most
# five members, the errors of two candidates differ by less than the error of that difference.
FEWEST_CELLS = 10
# Adding a member that does not help at once may help when its share is smaller: after so many iterations it is 1/9.
PATIENCE = 8
# Relative differences of losses below this are rounding errors.
ROUNDING = 1e-9

Array = npt.NDArray[np.float64]


def select_weights(
    frames: Mapping[str, pd.DataFrame],
    actual: pd.DataFrame,
    *,
    most_members: int = 5,
    iterations: int = 25,
    is_quantile: bool | None = None,
    scales: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return the weights of an ensemble by greedy selection with replacement.

    The selection begins with the single best candidate. Each iteration adds the candidate, chosen before or not, that
    brings the loss of the average lowest. The best iteration counts. The ensemble is never worse than the single best
    on these windows. Of equal candidates the first of the mapping is chosen, so the order of ``frames`` is their rank.

    The loss is the mean over series of the error over the scale of the series, so that one large series does not
    decide. The scale is the mean absolute value in the windows: it needs no history, and a constant series has one. A
    series with scale 0 is left out while others remain.

    Args:
        frames: evaluation frames by candidate, with the same keys, in any order of rows. A candidate with a value that
            is no finite number is never chosen.
        actual: ``unique_id``, ``ds``, ``y``, of the windows at least.
        most_members: the number of distinct candidates in the ensemble.
        iterations: the number of additions, the first one included.
        is_quantile: average and judge quantiles by the mean pinball loss, rather than the point forecast by its
            absolute error; by default where all candidates have the same quantiles.
        scales: of the series, instead of the mean absolute values.

    Returns:
        The weight of each member, the largest first; they sum to 1.

    Raises:
        InputError: no candidate is finite, the keys differ, or a value is not known.

    Source: Caruana et al., Ensemble selection from libraries of models, ICML 2004.
    """
    if most_members < 1 or iterations < 1:
        raise InputError("ensemble", min(most_members, iterations), "write a number of 1 or more.")
    names = list(frames)
    errors, levels = _weighted_errors(frames, actual, is_quantile, scales)
    finite = [number for number, values in enumerate(errors) if np.isfinite(values).all()]
    if not finite:
        raise InputError("ensemble", names, "no candidate has finite forecasts.")
    # The pinball loss at a level is |error| / 2 + (level - 1/2) error. Of an average of forecasts the second part is
    # the average of the second parts, the slopes; only the first one has to be computed for each row again.
    slopes = {number: float(errors[number].sum(axis=1) @ (levels - 0.5)) for number in finite}
    total, slope, buffer = np.zeros_like(errors[0]), 0.0, np.empty_like(errors[0])

    def loss(number: int, size: int) -> float:
        """Return the loss of the average of what is chosen and this candidate, ``size`` forecasts together."""
        np.abs(np.add(total, errors[number], out=buffer), out=buffer)
        return float(buffer.sum() / 2 + slope + slopes[number]) / (size * len(levels))

    counts: dict[int, int] = {}
    best, best_loss, best_size = dict(counts), math.inf, 0
    for size in range(1, iterations + 1):
        allowed = [number for number in finite if number in counts or len(counts) < most_members]
        tried = [loss(number, size) for number in allowed]
        lowest = min(tried)
        place = next(place for place, value in enumerate(tried) if value <= lowest * (1 + ROUNDING))
        chosen = allowed[place]
        total += errors[chosen]
        slope += slopes[chosen]
        counts[chosen] = counts.get(chosen, 0) + 1
        if tried[place] < best_loss * (1 - ROUNDING):
            best, best_loss, best_size = dict(counts), tried[place], size
        if size - best_size >= PATIENCE or best_loss == 0 or len(finite) == 1:
            break
    ordered = sorted(best, key=lambda number: (-best[number], number))
    return {names[number]: best[number] / best_size for number in ordered}


def equal_weights(names_in_order: Sequence[str], k: int = 3) -> dict[str, float]:
    """Return equal weights of the first ``k`` names: what to use with fewer cells than `FEWEST_CELLS`.

    Raises:
        InputError: there are no names, or ``k`` is below 1.
    """
    if k < 1 or not names_in_order:
        raise InputError("ensemble", k if names_in_order else "no candidates", "average one candidate or more.")
    chosen = list(dict.fromkeys(names_in_order))[:k]
    return {name: 1 / len(chosen) for name in chosen}


def combine(frames: Mapping[str, pd.DataFrame], weights: Mapping[str, float]) -> pd.DataFrame:
    """Return the weighted average of forecasts, with or without ``cutoff``; quantiles are averaged at each level.

    Args:
        frames: forecasts by name, those of all members at least, in any order of rows.
        weights: of the members; they sum to 1.

    Returns:
        The keys in the order of the first member, and the forecast columns that all members have.

    Raises:
        InputError: a member has no forecast, the keys differ, or the weights are negative or do not sum to 1.
    """
    members = {name: weight for name, weight in weights.items() if weight}
    is_average = all(weight > 0 for weight in members.values()) and math.isclose(sum(members.values()), 1, abs_tol=1e-6)
    if not is_average:
        raise InputError("weights", dict(weights), "write weights of 0 or more that sum to 1.")
    if missing := [name for name in members if name not in frames]:
        raise InputError("weights", missing[0], f"give its forecasts too; there are those of {', '.join(frames)}.")
    first = frames[next(iter(members))]
    keys = [key for key in ("unique_id", "ds", "cutoff") if key in first.columns]
    columns = [
        column
        for column in first.columns
        if column not in (*keys, "y") and all(column in frames[name].columns for name in members)
    ]
    if not columns:
        raise InputError("weights", list(members), "average forecasts that have a column in common.")
    averaged = first[keys].reset_index(drop=True)
    total = np.zeros((len(first), len(columns)))
    for name, weight in members.items():
        total += weight * align(frames[name], averaged, name)[columns].to_numpy(dtype=float)
    averaged[columns] = total
    return averaged


def align(frame: pd.DataFrame, keys: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a frame's rows in the order of those keys.

    Raises:
        InputError: the frame has other keys, or one of them twice.
    """
    wanted = list(keys.columns)
    different = InputError("forecasts", name, "forecast the same series, times and cutoffs with each.")
    if any(key not in frame.columns for key in wanted) or len(frame) != len(keys):
        raise different
    frame = frame.reset_index(drop=True)
    if all(_is_same(frame[key], keys[key]) for key in wanted):
        return frame
    places = pd.MultiIndex.from_frame(frame[wanted])
    if places.has_duplicates:
        raise different
    order = places.get_indexer(pd.MultiIndex.from_frame(keys))
    if (order < 0).any():
        raise different
    return frame.iloc[order].reset_index(drop=True)


def _is_same(values: pd.Series[Any], others: pd.Series[Any]) -> bool:
    # Times of another resolution, or names of another type, may be the same too; that takes longer to find out.
    return values.equals(others) or np.array_equal(values.to_numpy(), others.to_numpy())


def _weighted_errors(
    frames: Mapping[str, pd.DataFrame],
    actual: pd.DataFrame,
    is_quantile: bool | None,
    scales: Mapping[str, float] | None,
) -> tuple[Array, Array]:
    """Return the error of each candidate times the weight of the row (candidates x levels x rows), and the levels."""
    if not frames:
        raise InputError("ensemble", "no candidates", "give the forecasts of one candidate or more.")
    columns = {name: quantile_columns(frame) for name, frame in frames.items()}
    shared = sorted(set.intersection(*(set(found) for found in columns.values())))
    if is_quantile is None:
        is_quantile = bool(shared) and all(list(found) == shared for found in columns.values())
    levels = shared if is_quantile and shared else [0.5]
    first = next(iter(frames.values()))[["unique_id", "ds", "cutoff"]].reset_index(drop=True)
    # Sums in one order of rows: rounding then does not depend on the order that the forecasts came in.
    keys = first.sort_values(["unique_id", "cutoff", "ds"])
    order = keys.index.to_numpy()
    y = keys.merge(actual[["unique_id", "ds", "y"]], on=["unique_id", "ds"], how="left")["y"].to_numpy(dtype=float)
    if len(y) != len(keys) or np.isnan(y).any():
        raise InputError("actual", "missing or repeated values", "select weights on windows with known values.")
    weights = _row_weights(keys["unique_id"], y, scales)
    errors = np.empty((len(frames), len(levels), len(y)))
    for number, (name, frame) in enumerate(frames.items()):
        names = [columns[name][level] for level in levels] if levels == shared else [point_column(frame)]
        # In the order of the first: frames usually have the same one, and finding each row is slow.
        forecasts = align(frame, first, name)[names].to_numpy(dtype=float)[order].T
        with np.errstate(invalid="ignore"):  # an infinite forecast of a series that does not count
            errors[number] = weights * (y - forecasts)
    return errors, np.array(levels)


def _row_weights(ids: pd.Series[str], y: Array, scales: Mapping[str, float] | None) -> Array:
    """Return the weight of each row: 1 / (rows of its series x scale of its series x usable series)."""
    series, names = pd.factorize(ids)
    rows = np.bincount(series)
    sizes = np.bincount(series, weights=np.abs(y)) / rows
    if scales is not None:
        sizes = np.array([float(scales.get(name, 0.0)) for name in names])
    is_usable = np.isfinite(sizes) & (sizes > 0)
    if not is_usable.any():
        sizes, is_usable = np.ones_like(sizes), np.ones_like(is_usable)
    weights: Array = np.where(is_usable, 1 / np.where(is_usable, sizes, 1.0), 0.0) / rows / is_usable.sum()
    return weights[series]
