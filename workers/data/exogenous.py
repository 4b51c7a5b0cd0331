"""Exogenous columns: which there are, the static ones (one row a series) and the future ones (after the last row)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.workers.data.columns import (
    Columns,
    describe_row,
    format_count,
    join_names,
    order_rows,
    read_keys,
    read_numbers,
    refuse_any,
)
from castpool.workers.data.time_grid import Frequency, Stamps, following

__all__ = ["MAX_CATEGORIES", "Exogenous", "read_future", "read_static"]

MAX_CATEGORIES = 32
"""The most distinct texts of a static column: each becomes a column of zeros and ones."""


@dataclass(frozen=True)
class Exogenous:
    """The names of the exogenous columns: known to the past only, known ahead, constant in each series."""

    hist: tuple[str, ...] = ()
    futr: tuple[str, ...] = ()
    stat: tuple[str, ...] = ()

    @property
    def temporal(self) -> tuple[str, ...]:
        """The columns with one value a row, each once: hist, then futr."""
        return tuple(dict.fromkeys((*self.hist, *self.futr)))

    def require_in(self, table: pd.DataFrame, columns: Columns) -> None:
        """Raise InputError for the first column that ``table`` lacks or that already has another part."""
        taken = {"unique_id", "ds", "y", columns.id, columns.time, columns.target}
        for field, names in (("hist_exog", self.hist), ("futr_exog", self.futr), ("stat_exog", self.stat)):
            for name in names:
                if name in taken:
                    remedy = "leave it out, or rename it: id, time and target have that name."
                    raise InputError(field, repr(name), remedy)
                if name not in table.columns:
                    got = f"{name!r}, which is not among the columns ({join_names(table.columns)})"
                    free = [column for column in table.columns if column not in taken]
                    remedy = did_you_mean(name, free) if free else "leave it out: there are no columns but these."
                    raise InputError(field, got, remedy)


def read_static(
    rows: pd.DataFrame, keys: pd.DataFrame, stamps: Stamps, names: tuple[str, ...]
) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """Return one row a series, ``unique_id`` and float64 columns (None without ``names``), and notes.

    ``rows`` and ``keys`` are sorted alike. A column of text or categories becomes a column of zeros and ones for each
    of its values, called ``column=value``. Raises InputError for a value that is missing or that changes within a
    series, and for more than ``MAX_CATEGORIES`` values.
    """
    if not names:
        return None, ()
    static = {"unique_id": keys["unique_id"].iloc[stamps.starts].array}
    notes: tuple[str, ...] = ()
    for name in names:
        if _is_categorical(rows[name]):
            encoded = _one_hot(rows[name], keys, stamps, name)
            static |= encoded
            notes += (f"{name}: written as {format_count(len(encoded), 'column')} of zeros and ones",)
        else:
            numbers = read_numbers(rows[name], keys, name)
            _require_constant(numbers, keys, stamps, name)
            static[name] = numbers[stamps.starts]
    return pd.DataFrame(static), notes


def read_future(
    table: pd.DataFrame, stamps: Stamps, *, columns: Columns, names: tuple[str, ...], horizon: int, freq: Frequency
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return ``unique_id``, ``ds`` and ``names`` (float64) for the ``horizon`` steps after each series, and notes.

    Rows outside these steps are left out. Raises InputError("futr_data", ...) for a missing series, step or value.
    """
    for name in names:
        if name not in table.columns:
            got = f"no column {name!r} (there are {join_names(table.columns)})"
            raise InputError("futr_data", got, "write a table with every futr exogenous column.")
    try:
        keys, _ = read_keys(table, columns)
        order_rows(keys, columns)
        found, expected = _rows_of_steps(keys, stamps, horizon, freq)
        values = {name: read_numbers(table[name].iloc[found], expected, name) for name in names}
    except InputError as error:
        if error.field == "futr_data":
            raise
        raise InputError("futr_data", f"{error.field} with {error.got}", error.remedy) from None
    n_left_out = len(table) - len(expected)
    notes: tuple[str, ...] = ()
    if n_left_out:
        notes = (
            f"futr_data: left out {format_count(n_left_out, 'row')} outside the {horizon} steps after each series",
        )
    return expected.assign(**values), notes


def _rows_of_steps(
    keys: pd.DataFrame, stamps: Stamps, horizon: int, freq: Frequency
) -> tuple[npt.NDArray[np.intp], pd.DataFrame]:
    """Return which rows of ``keys`` hold the steps after each series, and these steps."""
    remedy = f"write every futr exogenous column for the {horizon} steps (horizon) after the last row of each series."
    if keys["ds"].dtype != stamps.values.dtype:
        raise InputError("futr_data", f"{keys['ds'].dtype} stamps after {stamps.values.dtype} ones", remedy)
    lacking = stamps.ids[~np.isin(stamps.ids, keys["unique_id"].unique())]
    if len(lacking):
        got = f"no rows for {len(lacking)} of {len(stamps.ids)} series, the first {lacking[0]!r}"
        raise InputError("futr_data", got, remedy)
    ids = pd.Series(np.repeat(stamps.ids, horizon)).astype(str)
    expected = pd.DataFrame({"unique_id": ids, "ds": following(stamps.lasts, horizon, freq).ravel()})
    found = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(expected))
    missing = found < 0
    if missing.any():
        first = describe_row(expected, int(np.argmax(missing)))
        got = f"no row for {missing.sum()} of {len(found)} steps, the first in {first}"
        raise InputError("futr_data", got, remedy)
    return found, expected


def _require_constant(values: npt.NDArray[Any], keys: pd.DataFrame, stamps: Stamps, name: str) -> None:
    changed = values != stamps.per_row(values[stamps.starts])
    if changed.any():
        got = f"a value that changes, first in {describe_row(keys, int(np.argmax(changed)))}"
        raise InputError(name, got, "list it as hist or futr exogenous, or make it constant in each series.")


def _is_categorical(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.infer_dtype(values, skipna=True) == "string"


def _one_hot(
    values: pd.Series[Any], keys: pd.DataFrame, stamps: Stamps, name: str
) -> dict[str, npt.NDArray[np.float64]]:
    refuse_any(values.isna().to_numpy(), keys, name, "missing", "write a value in each row, such as 'other'.")
    codes, categories = pd.factorize(values.astype(str), sort=True)
    _require_constant(codes, keys, stamps, name)
    if len(categories) > MAX_CATEGORIES:
        remedy = f"group them into at most {MAX_CATEGORIES}, write a number instead, or leave the column out."
        raise InputError(name, f"{len(categories)} categories", remedy)
    of_series = codes[stamps.starts]
    return {f"{name}={category}": (of_series == code).astype("float64") for code, category in enumerate(categories)}
