"""The columns of a table: id, time and numbers, each converted to one type."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError, did_you_mean

__all__ = [
    "Columns",
    "describe_row",
    "format_count",
    "format_stamp",
    "join_names",
    "order_rows",
    "read_keys",
    "read_numbers",
    "refuse_any",
    "require_column",
]

_SINGLE_SERIES = "series"
_NUMERIC_OBJECTS = frozenset({"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"})
_INTEGER_LIMIT = 2**62  # so that differences cannot overflow
_ISO_FORMAT = "ISO8601"
_ISO = "ISO 8601 dates or time stamps (2020-01-31 or 2020-01-31 13:00:00), or integers"


@dataclass(frozen=True)
class Columns:
    """The names of the three columns that every table must have."""

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"


def require_column(table: pd.DataFrame, field: str, name: str) -> None:
    """Raise InputError for ``field``, whose flag it names, unless ``name`` is a column of ``table``."""
    if name not in table.columns:
        got = f"{name!r}, which is not among the columns ({join_names(table.columns)})"
        remedy = f"write --{field.replace('_', '-')} with the name of that column: {did_you_mean(name, table.columns)}"
        raise InputError(field, got, remedy)


def read_keys(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return ``unique_id`` (str) and ``ds`` (datetime64[ns] or int64) of every row, and notes on what was changed.

    Without the default id column, distinct stamps are one series. Raises InputError for what is missing or unreadable.
    """
    if table.empty:
        raise InputError("data", "no rows", "write a table with a row for each series and time stamp.")
    if not table.columns.is_unique:
        repeated = join_names(table.columns[table.columns.duplicated()].unique())
        raise InputError("data", f"several columns of one name ({repeated})", "give each column a name of its own.")
    require_column(table, "time_col", columns.time)
    times, notes = _read_times(table[columns.time], columns.time)
    if columns.id == Columns.id and columns.id not in table.columns:
        if times.duplicated().any():
            others = [name for name in table.columns if name not in (columns.time, columns.target)]
            nearest = did_you_mean(columns.id, others) if others else "or keep one row for each time stamp."
            remedy = f"write --id-col with the column that tells the series apart: {nearest}"
            raise InputError("id_col", f"no column {columns.id!r} and time stamps that repeat", remedy)
        ids = pd.Series(_SINGLE_SERIES, index=table.index).astype(str)
        notes = (f"{columns.id}: no such column, so all rows are one series, {_SINGLE_SERIES!r}", *notes)
    else:
        require_column(table, "id_col", columns.id)
        ids = _read_ids(table[columns.id], columns.id)
    return pd.DataFrame({"unique_id": ids.array, "ds": times.array}), notes


def order_rows(keys: pd.DataFrame, columns: Columns) -> npt.NDArray[np.intp]:
    """Return the order of the rows by ``unique_id``, then ``ds``; raise InputError if two rows share both."""
    codes = pd.factorize(keys["unique_id"], sort=True)[0]
    times = keys["ds"].to_numpy()
    order = np.lexsort((times, codes))
    repeated = (np.diff(codes[order]) == 0) & (np.diff(times[order]).astype("int64") == 0)
    if repeated.any():
        first = describe_row(keys, int(order[np.argmax(repeated)]))
        got = f"{format_count(repeated.sum(), 'row')} with the id and time stamp of another, the first in {first}"
        remedy = f"keep one row each, e.g. df.drop_duplicates([{columns.id!r}, {columns.time!r}], keep='last')"
        raise InputError(columns.time, got, f"{remedy}, or write --id-col with the column that tells the series apart.")
    return order


def read_numbers(values: pd.Series[Any], keys: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return the column ``name`` as float64; ``keys`` (``unique_id``, ``ds``) has the id and time of its rows.

    Raises InputError for text and other non-numbers, missing values and infinite values.
    """
    if not _is_numeric(values):
        bad = pd.to_numeric(values.astype(str), errors="coerce").isna() & values.notna()
        row = int(np.argmax(bad.to_numpy()))
        got = f"{values.dtype} values such as {_value(values, row)!r} ({describe_row(keys, row)})"
        raise InputError(name, got, "write numbers only, with a point for decimals and nothing for thousands.")
    numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    remedy = "fill them first, series by series (pandas: ffill or interpolate)."
    refuse_any(np.isnan(numbers), keys, name, "missing", remedy)
    refuse_any(np.isinf(numbers), keys, name, "infinite", "replace them with finite numbers first.")
    return numbers


def describe_row(keys: pd.DataFrame, row: int) -> str:
    """Return where a row is, for a message: its series and its time stamp."""
    return f"series {keys['unique_id'].iloc[row]!r} at {format_stamp(keys['ds'].iloc[row])}"


def refuse_any(bad: npt.NDArray[np.bool_], keys: pd.DataFrame, name: str, kind: str, remedy: str) -> None:
    """Raise InputError for ``name`` if there are bad rows: how many, of what kind, and where the first is."""
    if bad.any():
        first = describe_row(keys, int(np.argmax(bad)))
        raise InputError(name, f"{format_count(bad.sum(), f'{kind} value')}, the first in {first}", remedy)


def format_stamp(stamp: object) -> str:
    """Return a time stamp as text, without the time where it is midnight."""
    return str(pd.Timestamp(stamp) if isinstance(stamp, np.datetime64) else stamp).removesuffix(" 00:00:00")


def format_count(number: int | np.integer[Any], noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def join_names(names: Iterable[object], most: int = 10) -> str:
    """Return the names with commas, at most ``most`` of them and then how many more there are."""
    words = [str(name) for name in names]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _value(values: pd.Series[Any], row: int) -> object:
    """Return one value as a Python object, which prints without ``np.float64(...)``."""
    return values.iloc[row : row + 1].tolist()[0]


def _is_numeric(values: pd.Series[Any]) -> bool:
    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) in _NUMERIC_OBJECTS
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values)


def _read_ids(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    ids = values.astype(str)
    missing = (values.isna() | (ids == "")).to_numpy()
    if missing.any():
        got = f"{format_count(missing.sum(), 'missing value')}, the first in row {int(np.argmax(missing)) + 1}"
        raise InputError(name, got, "write the series that each row belongs to, or drop these rows.")
    return ids


def _read_times(values: pd.Series[Any], name: str) -> tuple[pd.Series[Any], tuple[str, ...]]:
    missing = values.isna().to_numpy()
    if missing.any():
        got = f"{format_count(missing.sum(), 'missing value')}, the first in row {int(np.argmax(missing)) + 1}"
        raise InputError(name, got, "write the time stamp of each row, or drop these rows.")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    kind = pd.api.types.infer_dtype(values)
    if kind == "integer":
        extreme = max(int(values.max()), -int(values.min()))
        if extreme >= _INTEGER_LIMIT:
            raise InputError(name, f"integers as large as {extreme}", "count the steps from a nearer origin.")
        return values.astype("int64"), ()
    if kind.startswith("mixed"):
        kinds = values.map(lambda value: type(value).__name__)
        second = int(np.argmax((kinds != kinds.iloc[0]).to_numpy()))
        got = f"values of several types, such as {_value(values, 0)!r} and {_value(values, second)!r}"
        raise InputError(name, got, f"write all of them as {_ISO}.")
    if kind not in {"string", "datetime64", "datetime", "date"}:
        raise InputError(name, f"{kind} values such as {_value(values, 0)!r}", f"write {_ISO}.")
    form = _format(values, name) if kind == "string" else None
    stamps = _to_datetime(values, form)
    unread = stamps.isna().to_numpy()
    if unread.any():
        row = int(np.argmax(unread))
        n_unread = format_count(unread.sum(), "value")
        got = f"{n_unread} not a time stamp, the first {_value(values, row)!r} in row {row + 1}"
        raise InputError(name, got, f"write {_ISO}.")
    notes: tuple[str, ...] = ()
    if form not in (None, _ISO_FORMAT):
        notes += (f"{name}: read such as {_value(values, 0)!r} with the format {form}",)
    zone = pd.to_datetime(values.iloc[:1], format=form).dt.tz
    if zone is not None:
        notes += (f"{name}: now in UTC without a time zone (was {zone})",)
    try:
        return stamps.astype("datetime64[ns]"), notes
    except pd.errors.OutOfBoundsDatetime:
        got = f"time stamps from {format_stamp(stamps.min())} to {format_stamp(stamps.max())}"
        raise InputError(name, got, "write years from 1678 to 2261, or integers.") from None


def _format(texts: pd.Series[Any], name: str) -> str:
    """Return ISO 8601, or else the only format that fits all texts: day and month are never guessed."""
    first = texts.iloc[:1]
    if _to_datetime(first, _ISO_FORMAT).notna().all():
        return _ISO_FORMAT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas warns that 31/01/2020 has its day first
        guesses = [pd.tseries.api.guess_datetime_format(str(first.iloc[0]), dayfirst) for dayfirst in (False, True)]
    n_unread = {guess: int(_to_datetime(texts, guess).isna().sum()) for guess in guesses if guess}
    if list(n_unread.values()) == [0, 0]:
        got = f"dates such as {first.iloc[0]!r}, of which nothing tells the day from the month"
        raise InputError(name, got, f"write {_ISO}.")
    return min(n_unread, key=n_unread.__getitem__, default=_ISO_FORMAT)


def _to_datetime(values: pd.Series[Any], form: str | None) -> pd.Series[Any]:
    """Convert to time stamps in UTC without a time zone; NaT for what is not one."""
    return pd.to_datetime(values, format=form, errors="coerce", utc=True).dt.tz_localize(None)
