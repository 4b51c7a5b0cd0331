from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.read_table import read_table

FRAME = pd.DataFrame({"unique_id": ["007", "NA"], "ds": ["2020-01-01", "2020-01-02"], "y": [0.1, 1e23]})


def refusal(source: object) -> InputError:
    with pytest.raises(InputError) as caught:
        read_table(source)  # type: ignore[arg-type]
    assert caught.value.field == "data"
    return caught.value


@pytest.mark.parametrize("name", ["data.csv", "data.CSV", "data.csv.gz", "data.txt", "data"])
def test_csv_is_read_with_ids_and_numbers_as_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FRAME.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(path), FRAME)


def test_gzipped_csv_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode(), mtime=0))
    pd.testing.assert_frame_equal(read_table(path), FRAME)


def test_csv_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    FRAME.to_csv(path, index=False, encoding="utf-8-sig")
    assert list(read_table(path).columns) == ["unique_id", "ds", "y"]


def test_the_id_column_is_text_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("shop,ds,y\n01,2020-01-01,1\n1,2020-01-01,2\n")
    assert read_table(path, id_column="shop")["shop"].tolist() == ["01", "1"]


@pytest.mark.parametrize("word", ["", "NA", "nan", "null", "N/A"])
def test_missing_values_of_a_csv_are_missing_but_for_ids(tmp_path: Path, word: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"unique_id,ds,y\n{word},2020-01-01,{word}\n{word},{word},1\n")
    table = read_table(path)
    assert table["unique_id"].tolist() == [word, word]
    assert table["ds"].isna().tolist() == [False, True]
    assert table["y"].isna().tolist() == [True, False]
    assert table["y"].dtype == "float64"


@pytest.mark.parametrize("name", ["data.parquet", "data.pq", "data", "data.dat"])
def test_parquet_is_read_by_suffix_or_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FRAME.to_parquet(path)
    pd.testing.assert_frame_equal(read_table(str(path)), FRAME)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    assert len(read_table("~/data.csv")) == 2


def test_a_frame_is_copied_and_not_changed() -> None:
    table = read_table(FRAME)
    table["y"] = 0.0
    assert FRAME["y"].tolist() == [0.1, 1e23]


def test_a_named_index_becomes_columns_and_another_is_dropped() -> None:
    by_id = FRAME.set_index("unique_id")
    by_time = FRAME.drop(columns="unique_id").assign(ds=pd.to_datetime(FRAME["ds"])).set_index("ds")
    by_both = FRAME.set_index(["unique_id", "ds"])
    numbered = FRAME.set_axis([7, 3])
    assert list(read_table(by_id).columns) == ["unique_id", "ds", "y"]
    assert list(read_table(by_time).columns) == ["ds", "y"]
    assert list(read_table(by_both).columns) == ["unique_id", "ds", "y"]
    assert list(read_table(numbered).index) == [0, 1]
    assert list(read_table(FRAME.rename_axis("y")).columns) == ["unique_id", "ds", "y"]


def test_column_names_become_text() -> None:
    assert list(read_table(pd.DataFrame([[1, 2]])).columns) == ["0", "1"]


def test_whatever_converts_to_pandas_is_converted() -> None:
    pd.testing.assert_frame_equal(read_table(pa.Table.from_pandas(FRAME)), FRAME)  # type: ignore[arg-type]


def test_something_else_is_refused() -> None:
    error = refusal({"y": [1]})
    assert error.got == "a dict"
    assert "pandas or polars DataFrame" in error.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.csv")
    assert str(error).startswith(f"data: got {tmp_path / 'none.csv'}; there is no such file")
    assert "CSV (.csv, .csv.gz) or Parquet (.parquet)" in error.remedy


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "it is a folder: write the path of a CSV" in refusal(tmp_path).remedy


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    assert "it is empty" in refusal(path).remedy


def test_a_path_that_cannot_be_one_is_refused() -> None:
    assert "it cannot be read" in refusal("x" * 5000).remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.csv", "unique_id,ds,y\nMünchen,2020-01-01,1\n".encode("latin-1")),
        ("ragged.csv", b"unique_id,ds,y\na,2020-01-01,1\na,2020-01-02,1,2,3\n"),
        ("shifted.csv", b"unique_id,ds,y\n1,a,2020-01-01,1\n2,a,2020-01-02,1\n"),
        ("blank.csv", b"\n\n"),
        ("cut.csv.gz", gzip.compress(b"unique_id,ds,y\n" * 999, mtime=0)[:30]),
        ("not.csv.gz", b"\x1f\x8bnot gzip at all"),
        ("cut.parquet", b"PAR1 and then nothing"),
        ("text.parquet", b"unique_id,ds,y\n"),
        ("table.xlsx", b"PK\x03\x04\x14\x00\xff\xfe\x00\x00"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refusal(path)
    assert error.got == path
    assert error.remedy.startswith("it cannot be read (")
    assert "\n" not in str(error)


def test_a_csv_of_another_separator_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "semicolons.csv"
    FRAME.to_csv(path, sep=";", index=False)
    assert "its only column is 'unique_id;ds;y': separate the columns with commas" in refusal(path).remedy
