"""The grid of time stamps: whether each series lies on it without a gap, from its first stamp on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.columns import Columns, format_count, format_stamp

__all__ = ["Fit", "Stamps", "fit", "following", "require_regular"]

Frequency = str | int


@dataclass(frozen=True, eq=False)
class Stamps:
    """The time stamps of all series, one series after another, increasing within each."""

    values: npt.NDArray[Any]  # datetime64[ns] or int64, one a row
    ids: npt.NDArray[Any]  # the name of each series
    starts: npt.NDArray[np.intp]  # the row at which each series begins

    @classmethod
    def of(cls, keys: pd.DataFrame) -> Stamps:
        """Take the stamps of ``keys`` (``unique_id``, ``ds``; sorted by both)."""
        ids = keys["unique_id"].to_numpy(dtype=object)
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        return cls(keys["ds"].to_numpy(), ids[starts], starts)

    @property
    def lengths(self) -> npt.NDArray[np.intp]:
        """The number of rows of each series."""
        lengths: npt.NDArray[np.intp] = np.diff(self.starts, append=len(self.values))
        return lengths

    @property
    def lasts(self) -> npt.NDArray[Any]:
        """The last stamp of each series."""
        lasts: npt.NDArray[Any] = self.values[self.starts + self.lengths - 1]
        return lasts

    @property
    def is_integer(self) -> bool:
        """Whether time is format_count instead of dated."""
        return bool(self.values.dtype == np.int64)

    def per_row(self, of_series: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Repeat one value a series for each of its rows."""
        return np.repeat(of_series, self.lengths)

    def steps(self) -> npt.NDArray[np.int64]:
        """Return the distance of each row from the row before, in the same series (integers or nanoseconds)."""
        inner = np.ones(len(self.values), dtype=bool)
        inner[self.starts] = False
        between: npt.NDArray[np.int64] = np.diff(self.values.view("int64"))
        return between[inner[1:]]


@dataclass(frozen=True, eq=False)
class Fit:
    """How well the stamps fit the grid of a frequency; both arrays have one entry a row."""

    freq: Frequency
    off_grid: npt.NDArray[np.bool_]
    missing: npt.NDArray[np.int64]  # grid steps without a row between the row before and this one
    regular_share: float  # of the steps from row to row, those that are exactly one grid step

    @property
    def defects(self) -> tuple[int, int]:
        """Rows off the grid, and rows that are missing."""
        return int(self.off_grid.sum()), int(self.missing.sum())


def fit(stamps: Stamps, freq: Frequency) -> Fit:
    """Lay the grid of ``freq`` through the first stamp of each series and compare."""
    fixed = _fixed_step(freq)
    if fixed is not None:
        numbers = stamps.values.view("int64")
        distance, remainder = np.divmod(numbers - stamps.per_row(numbers[stamps.starts]), fixed)
        off_grid = remainder != 0
    else:
        offset = to_offset(str(freq))
        positions = _calendar_positions(stamps, offset)
        first = stamps.per_row(positions[stamps.starts])
        distance, remainder = np.divmod(positions - first, offset.n)
        off_grid = (positions < 0) | (first < 0) | (remainder != 0)
    steps = np.diff(distance, prepend=0)
    inner = ~off_grid & ~np.roll(off_grid, 1)
    inner[stamps.starts] = False
    possible = len(steps) - len(stamps.starts)
    regular_share = float((steps[inner] == 1).sum() / possible) if possible else 1.0
    return Fit(freq, off_grid, np.where(inner, steps - 1, 0), regular_share)


def following(lasts: npt.NDArray[Any], horizon: int, freq: Frequency) -> npt.NDArray[Any]:
    """Return the ``horizon`` grid stamps after each of ``lasts``: one row for each, of the type of ``lasts``."""
    fixed = _fixed_step(freq)
    if fixed is not None:
        ahead = np.arange(1, horizon + 1) * fixed
        return (lasts.view("int64")[:, None] + ahead).view(lasts.dtype)
    distinct, which = np.unique(lasts, return_inverse=True)
    grids = [pd.date_range(last, periods=horizon + 1, freq=str(freq), unit="ns")[1:].to_numpy() for last in distinct]
    return np.stack(grids)[which]


def require_regular(stamps: Stamps, fitted: Fit, columns: Columns) -> None:
    """Raise InputError at the first stamp off the grid, else at the first gap; both say how many and where."""
    if fitted.off_grid.any():
        row, series, where = _first(stamps, fitted.off_grid)
        n_off = format_count(fitted.defects[0], "time stamp")
        got = f"{n_off} off the grid of {fitted.freq!r} {where} at {format_stamp(stamps.values[row])}"
        start = format_stamp(stamps.values[stamps.starts[series]])
        mend = f"move them onto the grid of their series (this one starts at {start})"
    elif fitted.missing.any():
        row, series, where = _first(stamps, fitted.missing > 0)
        between = f"between {format_stamp(stamps.values[row - 1])} and {format_stamp(stamps.values[row])}"
        got = (
            f"{format_count(fitted.defects[1], 'missing step')} of {fitted.freq!r} {where} {between} "
            f"({format_count((fitted.missing > 0).sum(), 'gap')} in all, the longest of {int(fitted.missing.max())})"
        )
        default = columns == Columns(target=columns.target)
        names = "" if default else f", id_col={columns.id!r}, time_col={columns.time!r}"
        call = f"utilsforecast.preprocessing.fill_gaps(df, freq={fitted.freq!r}, end='per_serie'{names})"
        mend = f"fill them first, e.g. {call} and then interpolate"
    else:
        return
    raise InputError(columns.time, got, f"{mend}, or write another --freq if {fitted.freq!r} is not the step.")


def _first(stamps: Stamps, bad: npt.NDArray[np.bool_]) -> tuple[int, int, str]:
    """Return the first bad row, the number of its series, and how many series have such rows, in words."""
    row = int(np.argmax(bad))
    series = int(np.searchsorted(stamps.starts, row, side="right")) - 1
    n_series = int(np.logical_or.reduceat(bad, stamps.starts).sum())
    return row, series, f"in {n_series} of {len(stamps.ids)} series, the first in series {stamps.ids[series]!r}"


def _fixed_step(freq: Frequency) -> int | None:
    """Return the step as an integer (nanoseconds for an alias), or None where the calendar decides its length."""
    largest = np.iinfo(np.int64).max  # a longer step fits no data, and must not overflow
    if isinstance(freq, int):
        return min(freq, largest)
    try:
        return min(int(to_offset(freq).nanos), largest)
    except ValueError:
        return None


def _calendar_positions(stamps: Stamps, offset: Any) -> npt.NDArray[np.int64]:
    """Number the stamps along the grid of one ``offset`` step; -1 off the grid.

    All series of a calendar frequency share one grid, except for the time of day that each keeps.
    """
    positions = np.full(len(stamps.values), -1, dtype=np.int64)
    firsts = stamps.values[stamps.starts]
    times_of_day = firsts - firsts.astype("datetime64[D]")
    for time_of_day in np.unique(times_of_day):
        rows = stamps.per_row(times_of_day == time_of_day)
        values = pd.DatetimeIndex(stamps.values[rows])
        grid = pd.date_range(values.min(), values.max(), freq=offset.base, unit="ns")
        positions[rows] = grid.get_indexer(values)
    return positions
