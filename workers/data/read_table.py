"""A table as the user gives it: a CSV or Parquet file, or a frame in memory."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from castpool.sampler_policies.errors import InputError

__all__ = ["read_table"]

_PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_CSV_SUFFIXES = frozenset({".csv", ".gz"})
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None"]
_WRITE_A_FILE = "write the path of a CSV (.csv, .csv.gz) or Parquet (.parquet) file"
_UNREADABLE = (OSError, ValueError, EOFError, zlib.error, pa.ArrowException, pd.errors.ParserWarning)


def read_table(source: str | Path | pd.DataFrame, *, id_column: str = "unique_id") -> pd.DataFrame:
    """Return the rows of a CSV file, a Parquet file or a frame, unchecked and in their order.

    The format of a file comes from its suffix, or from its first bytes where the suffix is unknown. A frame is
    copied shallowly; polars frames and Arrow tables are converted. A named index (the ``unique_id`` index of older
    Nixtla frames, a ``DatetimeIndex`` called ``ds``) becomes columns; any other index is dropped.

    ``id_column`` is read from CSV as text, so that the ids ``007`` and ``NA`` stay what they are.

    Raises InputError for a path that is missing, a folder, empty, or neither CSV nor Parquet.
    """
    frame = _read_file(Path(source).expanduser(), id_column) if isinstance(source, str | Path) else _as_pandas(source)
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(named).reset_index(drop=True) if named else frame.reset_index(drop=True)
    return frame.set_axis(frame.columns.map(str), axis="columns")


def _as_pandas(source: Any) -> pd.DataFrame:
    frame = source.to_pandas() if hasattr(source, "to_pandas") else source
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            "data", f"a {type(source).__name__}", f"{_WRITE_A_FILE}, or pass a pandas or polars DataFrame."
        )
    return frame.copy(deep=False)


def _read_file(path: Path, id_column: str) -> pd.DataFrame:
    try:
        head = _head(path)
        if _is_parquet(path, head):
            return pd.read_parquet(path)
        frame = _read_csv(path, "gzip" if head.startswith(_GZIP_MAGIC) else None, id_column)
    except InputError:
        raise
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError("data", path, f"it cannot be read ({reason}): {_WRITE_A_FILE}.") from None
    if len(frame.columns) == 1:
        raise InputError("data", path, f"its only column is {frame.columns[0]!r}: separate the columns with commas.")
    return frame


def _read_csv(path: Path, compression: Literal["gzip"] | None, id_column: str) -> pd.DataFrame:
    names = pd.read_csv(path, compression=compression, nrows=0).columns
    with warnings.catch_warnings():
        # Rows longer than the header lose values with no more than this warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            compression=compression,
            dtype={id_column: str},
            na_values={name: _MISSING for name in names if name != id_column},
            keep_default_na=False,
            index_col=False,
            low_memory=False,
        )


def _head(path: Path) -> bytes:
    """Return the first bytes of a file that is there and has some."""
    if path.is_dir():
        raise InputError("data", path, f"it is a folder: {_WRITE_A_FILE}.")
    if not path.exists():
        raise InputError("data", path, f"there is no such file: {_WRITE_A_FILE}.")
    with path.open("rb") as file:
        head = file.read(len(_PARQUET_MAGIC))
    if not head:
        raise InputError("data", path, f"it is empty: {_WRITE_A_FILE} with rows.")
    return head


def _is_parquet(path: Path, head: bytes) -> bool:
    suffix = path.suffix.lower()
    return suffix in _PARQUET_SUFFIXES or (suffix not in _CSV_SUFFIXES and head == _PARQUET_MAGIC)
