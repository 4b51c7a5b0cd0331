"""Checked series: the one form of data that castpool stores and workers train on."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.columns import Columns, join_names, order_rows, read_keys, read_numbers, require_column
from castpool.workers.data.exogenous import Exogenous, read_future, read_static
from castpool.workers.data.frequency import choose_frequency
from castpool.workers.data.time_grid import Stamps, require_regular

__all__ = ["Columns", "Exogenous", "Series", "prepare"]

_METADATA_KEY = b"castpool.series"


@dataclass(frozen=True, eq=False)
class Series:
    """Regular series without a gap, a double or a missing value.

    ``frame``: ``unique_id`` (str), ``ds`` (datetime64[ns] or int64), ``y`` (float64), then the historical and future
    exogenous columns (float64); sorted by ``unique_id``, ``ds``.
    ``static``: ``unique_id`` and the static columns (float64), one row a series; None without any.
    ``freq``: pandas alias, or the integer step where ``ds`` is int64.
    ``futr``: ``unique_id``, ``ds`` and the future exogenous columns for the horizon after each series, where given.
    ``notes``: what was changed or inferred, as sentences.
    ``hierarchy``: a row for each series in the order of ``frame`` (the index), a column for each bottom series, where
    the series add up (`castpool.workers.data.hierarchy`).
    """

    frame: pd.DataFrame
    static: pd.DataFrame | None
    freq: str | int
    futr: pd.DataFrame | None
    notes: tuple[str, ...] = ()
    hierarchy: pd.DataFrame | None = None

    @cached_property
    def lengths(self) -> pd.Series[int]:
        """The number of rows of each series, by ``unique_id``."""
        return self.frame.groupby("unique_id").size()

    @property
    def n_series(self) -> int:
        """The number of series."""
        return len(self.lengths)

    def without_newest(self, behind: int) -> Series:
        """Return the series without the newest ``behind`` rows of each, of which each has more."""
        if behind == 0:
            return self
        left = self.frame.groupby("unique_id", sort=False).cumcount(ascending=False)
        return replace(self, frame=self.frame[left >= behind].reset_index(drop=True))

    @property
    def outline(self) -> Series:
        """The last row of each series alone: what building a model needs to know, and little to send elsewhere."""
        return replace(self, frame=self.frame.groupby("unique_id", sort=False).tail(1))

    def to_parquet(self) -> bytes:
        """Return one Parquet file (zstd): ``frame``, with the rest but the notes in its metadata.

        Equal data gives equal bytes, whatever the order of its rows. The notes depend on that order and are left out.
        """
        rest: dict[str, Any] = {
            "freq": self.freq,
            "static": None if self.static is None else base64.b64encode(_to_parquet(self.static)).decode(),
            "futr": None if self.futr is None else base64.b64encode(_to_parquet(self.futr)).decode(),
        }
        if self.hierarchy is not None:
            rest["hierarchy"] = self.hierarchy.to_dict("split")
        return _to_parquet(self.frame, {_METADATA_KEY: json.dumps(rest).encode()})

    @classmethod
    def from_parquet(cls, data: bytes) -> Series:
        """Return what ``to_parquet`` wrote, without notes; raises ValueError for other bytes."""
        frame, metadata = _from_parquet(data)
        if _METADATA_KEY not in metadata:
            raise ValueError("This Parquet file holds no castpool series; write it with Series.to_parquet.")
        rest = json.loads(metadata[_METADATA_KEY])
        static, futr = (
            None if rest[part] is None else _from_parquet(base64.b64decode(rest[part]))[0]
            for part in ("static", "futr")
        )
        hierarchy = pd.DataFrame(**rest["hierarchy"]) if "hierarchy" in rest else None
        return cls(frame, static, rest["freq"], futr, hierarchy=hierarchy)


def prepare(
    table: pd.DataFrame,
    *,
    columns: Columns,
    horizon: int,
    val_size: int,
    freq: str | int | None,
    exogenous: Exogenous,
    futr_table: pd.DataFrame | None = None,
    holdout: int = 0,
    min_length: int,
    short_series: Literal["error", "drop"] = "error",
) -> Series:
    """Check everything that can be wrong with a table and return its series.

    ``min_length`` is the number of rows that each series needs: horizon, smallest input, validation and holdout
    together.
    ``freq`` None is inferred. ``futr_table`` holds the future exogenous columns after the last row of each series.

    Raises InputError naming the column or setting, what was found, where first and how often, and how to mend it.
    """
    keys, notes = read_keys(table, columns)
    require_column(table, "target_col", columns.target)
    exogenous.require_in(table, columns)
    order = order_rows(keys, columns)
    rows, keys = table.iloc[order], keys.iloc[order]
    notes += _note_unused(table, columns, exogenous)

    kept, dropped = _long_enough(keys, horizon, val_size, holdout, min_length, short_series)
    rows, keys = rows.iloc[kept], keys.iloc[kept].reset_index(drop=True)
    stamps = Stamps.of(keys)
    fitted, inferred = choose_frequency(stamps, freq)
    require_regular(stamps, fitted, columns)

    frame = keys.assign(y=read_numbers(rows[columns.target], keys, columns.target))
    for name in exogenous.temporal:
        frame[name] = read_numbers(rows[name], keys, name)
    static, encoded = read_static(rows, keys, stamps, exogenous.stat)
    notes += dropped + inferred + encoded + _note_constant(frame["y"], columns.target)
    futr = None
    if futr_table is not None and exogenous.futr:
        futr, cut = read_future(
            futr_table, stamps, columns=columns, names=exogenous.futr, horizon=horizon, freq=fitted.freq
        )
        notes += cut
    elif futr_table is not None:
        notes += ("futr_data: not used, because there are no futr exogenous columns",)
    return Series(frame, static, fitted.freq, futr, notes)


def _long_enough(
    keys: pd.DataFrame,
    horizon: int,
    val_size: int,
    holdout: int,
    min_length: int,
    short_series: Literal["error", "drop"],
) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    """Return which rows belong to series of at least ``min_length`` rows, and a note on the series left out."""
    stamps = Stamps.of(keys)
    short = stamps.lengths < min_length
    if not short.any():
        return np.ones(len(keys), dtype=bool), ()
    if short_series == "drop" and not short.all():
        named = join_names(stamps.ids[short])
        return stamps.per_row(~short), (f"dropped {int(short.sum())} series shorter than {min_length} ({named})",)
    first = int(np.argmax(short))
    got = (
        f"{int(short.sum())} of {len(short)} series shorter than {min_length} rows, "
        f"the first {stamps.ids[first]!r} with {stamps.lengths[first]}"
    )
    sizes = [f"--horizon (now {horizon})", f"--val-size (now {val_size})"]
    sizes += [f"--holdout (now {holdout})"] if holdout else []
    remedy = f"write a smaller {', '.join(sizes[:-1])} or {sizes[-1]}"
    drop = "" if short.all() else ", or --short-series drop to leave these series out"
    raise InputError("data", got, f"{remedy}{drop}.")


def _note_unused(table: pd.DataFrame, columns: Columns, exogenous: Exogenous) -> tuple[str, ...]:
    used = {columns.id, columns.time, columns.target, *exogenous.temporal, *exogenous.stat}
    unused = [name for name in table.columns if name not in used]
    return (f"not used: {join_names(unused)}",) if unused else ()


def _note_constant(target: pd.Series[float], name: str) -> tuple[str, ...]:
    return (f"{name}: {target.iloc[0]:g} in every row",) if target.min() == target.max() else ()


def _to_parquet(frame: pd.DataFrame, metadata: dict[bytes, bytes] | None = None) -> bytes:
    types = {"unique_id": pa.string()}
    if "ds" in frame:
        types["ds"] = pa.int64() if frame["ds"].dtype == np.int64 else pa.timestamp("ns")
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in frame.columns])
    # The metadata of pandas and Arrow would put their versions into the bytes.
    table = pa.Table.from_pandas(frame, schema, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata or {})
    return bytes(sink.getvalue())


def _from_parquet(data: bytes) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    file = pq.ParquetFile(pa.BufferReader(data))
    frame: pd.DataFrame = file.read().replace_schema_metadata(None).to_pandas()
    return frame, file.metadata.metadata or {}
