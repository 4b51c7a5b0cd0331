from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.read_table import read_table
from castpool.workers.data.series_dataset import Columns, Exogenous, Series, prepare

ROOT = Path(__file__).resolve().parents[3]
SHARED_DATA = ROOT.parent / "shared" / "data"


def table(freq: str | int = "D", n: int = 30, ids: tuple[Any, ...] = ("a", "b"), start: Any = "2020-01-01") -> Any:
    stamps = np.arange(n) * freq if isinstance(freq, int) else pd.date_range(start, periods=n, freq=freq)
    return pd.concat(
        [pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.arange(n) + 0.5}) for name in ids], ignore_index=True
    )


def prepared(frame: pd.DataFrame, **changed: Any) -> Series:
    settings: dict[str, Any] = {
        "columns": Columns(),
        "horizon": 3,
        "val_size": 3,
        "freq": None,
        "exogenous": Exogenous(),
        "min_length": 8,
    }
    return prepare(frame, **settings | changed)


def refusal(frame: pd.DataFrame, **changed: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        prepared(frame, **changed)
    return caught.value


def with_value(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    values = frame[column].astype(object)
    values[row] = value
    return frame.assign(**{column: values.infer_objects()})


class TestResult:
    def test_is_sorted_typed_and_indexed_from_zero(self) -> None:
        frame = table(ids=("b", "a")).sample(frac=1, random_state=0).assign(y=1, x=True)
        series = prepared(frame, exogenous=Exogenous(hist=("x",)))
        assert list(series.frame.columns) == ["unique_id", "ds", "y", "x"]
        assert series.frame["unique_id"].tolist() == ["a"] * 30 + ["b"] * 30
        assert series.frame["ds"].dtype == "datetime64[ns]"
        assert series.frame["y"].dtype == series.frame["x"].dtype == "float64"
        assert isinstance(series.frame.index, pd.RangeIndex)
        assert series.static is None
        assert series.futr is None
        assert series.lengths.to_dict() == {"a": 30, "b": 30}
        assert series.n_series == 2

    def test_does_not_change_the_table(self) -> None:
        frame = table().sample(frac=1, random_state=0)
        before = frame.copy()
        prepared(frame)
        pd.testing.assert_frame_equal(frame, before)

    def test_other_column_names_are_brought_to_nixtlas(self) -> None:
        frame = table().rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"}).assign(y="unused")
        series = prepared(frame, columns=Columns("shop", "day", "sales"))
        assert list(series.frame.columns) == ["unique_id", "ds", "y"]
        assert "not used: y" in series.notes

    def test_exogenous_columns_come_once_hist_first(self) -> None:
        frame = table().assign(p=1, q=2, r=3)
        series = prepared(frame, exogenous=Exogenous(hist=("r", "p"), futr=("q", "p")))
        assert list(series.frame.columns[3:]) == ["r", "p", "q"]

    def test_a_constant_target_is_noted(self) -> None:
        assert "y: 5 in every row" in prepared(table().assign(y=5)).notes

    @pytest.mark.parametrize("values", [[Decimal(1)] * 30, [1, None], [True] * 30, list("1" * 30)])
    def test_numbers_in_objects(self, values: list[Any]) -> None:
        frame = table(ids=("a",)).assign(y=pd.Series((values * 30)[:30], dtype=object))
        if values[-1] is None:
            assert refusal(frame).got.startswith("15 missing values")  # type: ignore[attr-defined]
        elif values[-1] == "1":
            assert "such as '1'" in str(refusal(frame))
        else:
            assert prepared(frame).frame["y"].tolist() == [1.0] * 30


class TestIds:
    def test_numbers_and_categories_become_text(self) -> None:
        assert prepared(table(ids=(1, 10, 9))).lengths.index.tolist() == ["1", "10", "9"]
        categories = table().astype({"unique_id": "category"})
        assert prepared(categories).frame["unique_id"].tolist() == ["a"] * 30 + ["b"] * 30

    def test_no_id_column_is_one_series(self) -> None:
        series = prepared(table(ids=("a",)).drop(columns="unique_id"))
        assert series.lengths.to_dict() == {"series": 30}
        assert "unique_id: no such column, so all rows are one series, 'series'" in series.notes

    def test_no_id_column_and_repeated_stamps(self) -> None:
        error = refusal(table().rename(columns={"unique_id": "uniqueid"}))
        assert error.field == "id_col"
        assert error.got == "no column 'unique_id' and time stamps that repeat"
        assert "--id-col" in error.remedy
        assert "did you mean 'uniqueid'?" in error.remedy

    def test_no_id_column_repeated_stamps_and_nothing_else(self) -> None:
        assert "keep one row for each time stamp" in refusal(table().drop(columns="unique_id")).remedy

    def test_a_named_id_column_must_be_there(self) -> None:
        error = refusal(table().rename(columns={"unique_id": "shop"}), columns=Columns(id="shops"))
        assert str(error) == (
            "id_col: got 'shops', which is not among the columns (shop, ds, y); "
            "write --id-col with the name of that column: did you mean 'shop'?"
        )

    @pytest.mark.parametrize("missing", [None, ""])
    def test_missing_ids(self, missing: str | None) -> None:
        error = refusal(with_value(table(), "unique_id", 4, missing))
        assert error.field == "unique_id"
        assert error.got == "1 missing value, the first in row 5"
        assert "drop these rows" in error.remedy


class TestColumns:
    def test_missing_time_and_target(self) -> None:
        time_error = refusal(table().rename(columns={"ds": "DS"}))
        assert time_error.field == "time_col"
        assert "write --time-col" in time_error.remedy
        assert "did you mean 'DS'?" in time_error.remedy
        target_error = refusal(table().rename(columns={"y": "sales"}))
        assert target_error.field == "target_col"
        assert target_error.got == "'y', which is not among the columns (unique_id, ds, sales)"
        assert "write --target-col" in target_error.remedy

    def test_long_lists_of_columns_are_cut(self) -> None:
        frame = table().drop(columns="y").assign(**{f"c{i:02}": 0 for i in range(20)})
        assert "c07 and 12 more)" in str(refusal(frame).got)

    def test_two_columns_of_one_name(self) -> None:
        error = refusal(pd.concat([table(), table()[["y"]]], axis="columns"))
        assert (error.field, error.got) == ("data", "several columns of one name (y)")
        assert "name of its own" in error.remedy

    def test_no_rows(self) -> None:
        error = refusal(table().iloc[:0])
        assert (error.field, error.got) == ("data", "no rows")
        assert "a row for each series and time stamp" in error.remedy


class TestNumbers:
    @pytest.mark.parametrize("value", ["1,234", "abc", [1], date(2020, 1, 1)])
    def test_what_is_no_number(self, value: object) -> None:
        error = refusal(with_value(table(), "y", 33, value))
        assert error.field == "y"
        assert f"values such as {value!r} (series 'b' at 2020-01-04)" in str(error.got)
        assert "write numbers only" in error.remedy

    def test_dates_are_no_numbers(self) -> None:
        frame = table()
        assert "datetime64" in str(refusal(frame.assign(y=frame["ds"])).got)
        assert "complex" in str(refusal(frame.assign(y=frame["y"] * 1j)).got)
        assert "such as '0.5'" in str(refusal(frame.assign(y=frame["y"].astype(str))).got)

    def test_missing_values(self) -> None:
        error = refusal(with_value(with_value(table(), "y", 40, None), "y", 31, np.nan))
        assert error.field == "y"
        assert error.got == "2 missing values, the first in series 'b' at 2020-01-02"
        assert "fill them first" in error.remedy

    def test_missing_values_of_nullable_types(self) -> None:
        frame = table().astype({"y": "Float64"})
        frame.loc[3, "y"] = pd.NA
        assert refusal(frame).got == "1 missing value, the first in series 'a' at 2020-01-04"

    def test_infinite_values(self) -> None:
        error = refusal(with_value(table("h"), "y", 5, -np.inf))
        assert error.got == "1 infinite value, the first in series 'a' at 2020-01-01 05:00:00"
        assert "finite" in error.remedy

    @pytest.mark.parametrize("value", ["text", None, np.inf])
    def test_exogenous_columns_are_checked_alike(self, value: object) -> None:
        frame = with_value(table().assign(x=1.0), "x", 2, value)
        assert refusal(frame, exogenous=Exogenous(futr=("x",))).field == "x"
        assert "not used: x" in prepared(frame).notes


class TestExogenousNames:
    @pytest.mark.parametrize("kind", ["hist", "futr", "stat"])
    def test_unknown(self, kind: str) -> None:
        error = refusal(table().assign(price=1), exogenous=Exogenous(**{kind: ("prise",)}))
        assert error.field == f"{kind}_exog"
        assert error.got == "'prise', which is not among the columns (unique_id, ds, y, price)"
        assert error.remedy == "did you mean 'price'?"

    def test_unknown_without_candidates(self) -> None:
        assert "leave it out" in refusal(table(), exogenous=Exogenous(hist=("price",))).remedy

    def test_names_that_are_taken(self) -> None:
        error = refusal(table(), exogenous=Exogenous(hist=("y",)))
        assert (error.field, error.got) == ("hist_exog", "'y'")
        assert "leave it out, or rename it" in error.remedy


class TestTimes:
    def test_text_is_parsed(self) -> None:
        frame = table()
        text = frame.assign(ds=frame["ds"].dt.strftime("%Y-%m-%d"))
        pd.testing.assert_frame_equal(prepared(text).frame, prepared(frame).frame)

    @pytest.mark.parametrize("kind", ["category", "datetime64[s]", "datetime64[ms]", "object"])
    def test_other_types_are_brought_to_nanoseconds(self, kind: str) -> None:
        frame = table()
        pd.testing.assert_frame_equal(prepared(frame.astype({"ds": kind})).frame, prepared(frame).frame)

    def test_dates_are_brought_to_nanoseconds(self) -> None:
        frame = table()
        pd.testing.assert_frame_equal(prepared(frame.assign(ds=frame["ds"].dt.date)).frame, prepared(frame).frame)

    @pytest.mark.parametrize("kind", ["int32", "uint8", "Int64", "object"])
    def test_integers_become_int64(self, kind: str) -> None:
        assert prepared(table(1).astype({"ds": kind})).frame["ds"].dtype == "int64"

    def test_integers_beyond_all_counting(self) -> None:
        error = refusal(table(1).assign(ds=10**30))
        assert (error.field, error.got) == ("ds", f"integers as large as {10**30}")
        assert "a nearer origin" in error.remedy

    def test_a_format_that_the_data_proves_is_read_and_noted(self) -> None:
        frame = table()
        series = prepared(frame.assign(ds=frame["ds"].dt.strftime("%d/%m/%Y")))
        pd.testing.assert_frame_equal(series.frame, prepared(frame).frame)
        assert "ds: read such as '01/01/2020' with the format %d/%m/%Y" in series.notes

    def test_day_and_month_are_not_guessed(self) -> None:
        frame = table("MS", n=12)
        error = refusal(frame.assign(ds=frame["ds"].dt.strftime("%d/%m/%Y")))
        assert error.field == "ds"
        assert error.got == "dates such as '01/01/2020', of which nothing tells the day from the month"
        assert "ISO 8601" in error.remedy

    @pytest.mark.parametrize("first", ["2020-01-01", "31/01/2020"])
    def test_unreadable_text(self, first: str) -> None:
        frame = table().assign(ds=first)
        error = refusal(with_value(with_value(frame, "ds", 7, "soon"), "ds", 9, "later"))
        assert error.field == "ds"
        assert error.got == "2 values not a time stamp, the first 'soon' in row 8"
        assert "write ISO 8601 dates" in error.remedy

    def test_text_of_no_format(self) -> None:
        assert "the first '1st of May' in row 1" in str(refusal(table().assign(ds="1st of May")).got)

    def test_missing(self) -> None:
        error = refusal(with_value(table(), "ds", 7, None))
        assert error.field == "ds"
        assert error.got == "1 missing value, the first in row 8"
        assert "drop these rows" in error.remedy

    def test_mixed(self) -> None:
        error = refusal(with_value(table(1), "ds", 7, "2020-01-01"))
        assert error.got == "values of several types, such as 0 and '2020-01-01'"
        assert "write all of them as ISO 8601" in error.remedy

    @pytest.mark.parametrize("kind", ["float64", "bool", "timedelta64[ns]"])
    def test_neither_times_nor_integers(self, kind: str) -> None:
        frame = table(1)
        frame["ds"] = frame["ds"].astype(kind) if kind != "timedelta64[ns]" else pd.to_timedelta(frame["ds"])
        assert "ISO 8601" in refusal(frame).remedy

    def test_years_beyond_nanoseconds(self) -> None:
        error = refusal(table().assign(ds=np.datetime64("1066-10-14", "s")))
        assert error.field == "ds"
        assert error.got == "time stamps from 1066-10-14 to 1066-10-14"
        assert "write years from 1678 to 2261" in error.remedy

    def test_time_zones_become_utc(self) -> None:
        frame = table("h")
        series = prepared(frame.assign(ds=frame["ds"].dt.tz_localize("Asia/Tokyo")))
        assert series.frame["ds"].iloc[0] == pd.Timestamp("2019-12-31 15:00")
        assert "ds: now in UTC without a time zone (was Asia/Tokyo)" in series.notes

    def test_offsets_that_change_in_summer_become_utc(self) -> None:
        frame = table("h", n=48, start="2020-03-28")
        local = frame["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
        for stamps in (local.map(lambda stamp: stamp.isoformat()), local.astype(object)):
            series = prepared(frame.assign(ds=stamps))
            pd.testing.assert_frame_equal(series.frame, prepared(frame).frame)
            assert any("now in UTC" in note for note in series.notes)

    def test_objects_of_different_zones_become_utc(self) -> None:
        zones = [timezone.utc, timezone(timedelta(hours=2))]
        stamps = [datetime(2020, 1, 1 + i, tzinfo=zones[i % 2]) + timedelta(hours=2 * (i % 2)) for i in range(30)]
        frame = table(ids=("a",)).assign(ds=pd.Series(stamps, dtype=object))
        pd.testing.assert_frame_equal(prepared(frame).frame, prepared(table(ids=("a",))).frame)

    def test_duplicates(self) -> None:
        frame = pd.concat([table(), table().iloc[[35, 36]]])
        error = refusal(frame)
        assert error.field == "ds"
        assert error.got == "2 rows with the id and time stamp of another, the first in series 'b' at 2020-01-06"
        assert "drop_duplicates(['unique_id', 'ds'], keep='last')" in error.remedy
        assert "--id-col" in error.remedy


class TestFrequency:
    @pytest.mark.parametrize(
        "freq", ["D", "B", "h", "min", "s", "15min", "90min", "12h", "MS", "ME", "QS", "QE", "YS", "YE", "2MS", "W-WED"]
    )
    @pytest.mark.parametrize("start", ["2019-03-04", "2019-03-04 07:30"])
    def test_is_inferred(self, freq: str, start: str) -> None:
        assert prepared(table(freq, start=start), horizon=1).freq == freq

    def test_is_noted_if_inferred_only(self) -> None:
        assert prepared(table("MS")).notes == ("freq: inferred 'MS' from the time stamps",)
        assert prepared(table("MS"), freq="MS").notes == ()

    @pytest.mark.parametrize(("freq", "shown"), [("W-SUN", "W"), ("W-SAT", "W-SAT"), ("QS-APR", "QS"), ("10D", "10D")])
    def test_has_the_short_name_where_there_is_one(self, freq: str, shown: str) -> None:
        assert prepared(table(freq)).freq == shown

    def test_weeks_of_different_days_are_seven_days(self) -> None:
        frame = pd.concat([table("W-MON", ids=("a",)), table("W-FRI", ids=("b",))])
        assert prepared(frame).freq == "7D"

    def test_each_series_keeps_its_own_time_of_day(self) -> None:
        for freq in ("5min", "B", "MS"):
            late = table(freq, ids=("b",)).assign(ds=lambda frame: frame["ds"] + pd.Timedelta(minutes=4))
            assert prepared(pd.concat([table(freq, ids=("a",)), late])).freq == freq

    @pytest.mark.parametrize(("step", "given"), [(1, None), (5, None), (5, 5), (5, "5")])
    def test_integer_steps(self, step: int, given: int | str | None) -> None:
        assert prepared(table(step), freq=given).freq == step

    @pytest.mark.parametrize("freq", ["QS-OCT", "3MS", "QS"])
    def test_given_is_kept_as_written(self, freq: str) -> None:
        assert prepared(table("QS"), freq=freq).freq == freq

    @pytest.mark.parametrize(
        ("old", "new"),
        [("H", "h"), ("15T", "15min"), ("2H", "2h"), ("M", "ME"), ("Q-DEC", "QE-DEC"), ("A", "YE"), ("daily", "D")],
    )
    def test_old_spellings(self, old: str, new: str) -> None:
        error = refusal(table(), freq=old)
        assert (error.field, error.got) == ("freq", repr(old))
        assert error.remedy == f"did you mean {new!r}? The time stamps look like --freq D."

    @pytest.mark.parametrize(("typo", "meant"), [("qs", "QS"), ("mins", "min")])
    def test_misspelled(self, typo: str, meant: str) -> None:
        assert f"did you mean {meant!r}?" in refusal(table(), freq=typo).remedy

    @pytest.mark.parametrize("nonsense", ["fortnight!", "", "9" * 20 + "h"])
    def test_unknown(self, nonsense: str) -> None:
        assert "The time stamps look like --freq D." in refusal(table(), freq=nonsense).remedy

    @pytest.mark.parametrize("freq", ["-1h", "0D"])
    def test_not_forward(self, freq: str) -> None:
        assert "forward in time" in refusal(table(), freq=freq).remedy

    def test_integer_for_time_stamps(self) -> None:
        error = refusal(table(), freq=1)
        assert (error.field, error.got) == ("freq", "1 for a time column of time stamps")
        assert "write a pandas alias, e.g. --freq D" in error.remedy

    def test_alias_for_integers(self) -> None:
        error = refusal(table(1), freq="D")
        assert (error.field, error.got) == ("freq", "'D' for a time column of integers")
        assert "--freq 1" in error.remedy

    def test_integer_step_that_is_none(self) -> None:
        assert "a step of 1 or more" in refusal(table(1), freq=0).remedy

    @pytest.mark.parametrize("given", ["h", "ME", "W", "999999999999h"])
    def test_given_against_the_data(self, given: str) -> None:
        error = refusal(table(), freq=given)
        assert error.field == "freq"
        assert str(error.got).startswith(f"{given!r}, which is the step of only ")
        assert error.remedy == "write the step from one row to the next. The time stamps look like --freq D."

    def test_nothing_to_infer(self) -> None:
        stamps = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(30) ** 2, unit="h")
        error = refusal(table(ids=("a",)).assign(ds=stamps))
        assert (error.field, error.got) == ("freq", "none, and the time stamps of the 1 series show none")
        assert "write --freq" in error.remedy
        assert "e.g. --freq D, h or MS" in error.remedy
        assert refusal(table(n=1), min_length=1).field == "freq"

    def test_one_row_a_series_will_do_with_a_frequency(self) -> None:
        assert prepared(table(n=1), min_length=1, freq="D").n_series == 2


class TestGaps:
    def test_missing_steps(self) -> None:
        frame = table("h", n=60, ids=("a", "b", "c")).drop(index=[70, 75, 76, 130])
        for freq in (None, "h"):
            error = refusal(frame, freq=freq)
            assert error.field == "ds"
            assert error.got == (
                "4 missing steps of 'h' in 2 of 3 series, the first in series 'b' between 2020-01-01 09:00:00 "
                "and 2020-01-01 11:00:00 (3 gaps in all, the longest of 2)"
            )
            assert "utilsforecast.preprocessing.fill_gaps(df, freq='h', end='per_serie')" in error.remedy
            assert "another --freq" in error.remedy

    @pytest.mark.parametrize("freq", ["B", "MS", "W-MON", "2QS", "QE", 3])
    def test_missing_steps_of_other_frequencies(self, freq: str | int) -> None:
        assert str(refusal(table(freq).drop(index=40)).got).startswith("1 missing step of ")

    def test_the_remedy_has_the_names_of_the_columns(self) -> None:
        frame = table().drop(index=40).rename(columns={"unique_id": "shop", "ds": "day"})
        error = refusal(frame, columns=Columns("shop", "day"))
        assert error.field == "day"
        assert "end='per_serie', id_col='shop', time_col='day')" in error.remedy

    def test_the_remedy_works(self) -> None:
        fill_gaps = pytest.importorskip("utilsforecast.preprocessing").fill_gaps
        filled = fill_gaps(table("B").drop(index=40), freq="B", end="per_serie")
        filled["y"] = filled["y"].interpolate()
        pd.testing.assert_frame_equal(prepared(filled).frame, prepared(table("B")).frame)

    def test_off_the_grid(self) -> None:
        frame = with_value(table("h", n=60), "ds", 70, pd.Timestamp("2020-01-01 10:20"))
        error = refusal(frame)
        assert error.field == "ds"
        assert error.got == (
            "1 time stamp off the grid of 'h' in 1 of 2 series, the first in series 'b' at 2020-01-01 10:20:00"
        )
        assert "onto the grid of their series (this one starts at 2020-01-01)" in error.remedy

    def test_off_the_calendar(self) -> None:
        frame = with_value(table("MS", n=60), "ds", 70, pd.Timestamp("2020-11-02"))
        assert "1 time stamp off the grid of 'MS'" in str(refusal(frame, freq="MS").got)
        weekend = with_value(table("B", n=60), "ds", 59, pd.Timestamp("2021-01-02"))
        assert "1 time stamp off the grid of 'B'" in str(refusal(weekend, freq="B").got)

    def test_off_the_grid_of_integers(self) -> None:
        error = refusal(with_value(table(10), "ds", 29, 295))
        assert "1 time stamp off the grid of 10 in 1 of 2 series, the first in series 'a' at 295" in str(error.got)


class TestLengths:
    frame = pd.concat([table(n=30), table(n=9, ids=("c",)), table(n=5, ids=("d",))])

    def test_too_short(self) -> None:
        error = refusal(self.frame, min_length=10)
        assert error.field == "data"
        assert error.got == "2 of 4 series shorter than 10 rows, the first 'c' with 9"
        assert error.remedy == (
            "write a smaller --horizon (now 3) or --val-size (now 3), or --short-series drop to leave these series out."
        )

    def test_dropped(self) -> None:
        series = prepared(self.frame, min_length=10, short_series="drop")
        assert series.lengths.to_dict() == {"a": 30, "b": 30}
        assert "dropped 2 series shorter than 10 (c, d)" in series.notes

    def test_none_left(self) -> None:
        error = refusal(self.frame, min_length=31, short_series="drop")
        assert error.got == "4 of 4 series shorter than 31 rows, the first 'a' with 30"
        assert error.remedy == "write a smaller --horizon (now 3) or --val-size (now 3)."

    def test_what_is_dropped_is_not_checked(self) -> None:
        broken = with_value(table(n=9, ids=("c",)), "y", 3, np.nan).drop(index=5)
        assert prepared(pd.concat([table(), broken]), min_length=9, short_series="drop").n_series == 2


class TestStatic:
    def test_numbers_stay_and_text_becomes_columns(self) -> None:
        frame = table(ids=("a", "b", "c"))
        frame["size"] = frame["unique_id"].map({"a": 1, "b": 2, "c": 3})
        frame["state"] = frame["unique_id"].map({"a": "NSW", "b": "VIC", "c": "NSW"})
        for kind in ("str", "category"):
            series = prepared(frame.astype({"state": kind}), exogenous=Exogenous(stat=("state", "size")))
            expected = {"unique_id": ["a", "b", "c"], "state=NSW": [1, 0, 1], "state=VIC": [0, 1, 0], "size": [1, 2, 3]}
            assert series.static is not None
            assert series.static.to_dict("list") == expected
            assert set(series.static.dtypes.iloc[1:]) == {np.dtype("float64")}
            assert "state: written as 2 columns of zeros and ones" in series.notes

    @pytest.mark.parametrize("values", [range(60), [str(i) for i in range(60)]])
    def test_must_be_constant(self, values: Any) -> None:
        error = refusal(table().assign(size=list(values)), exogenous=Exogenous(stat=("size",)))
        assert error.field == "size"
        assert str(error.got).startswith("a value that changes, first in series ")
        assert "hist or futr exogenous" in error.remedy

    def test_the_first_change_is_named(self) -> None:
        frame = with_value(table().assign(size=1), "size", 33, 2)
        assert refusal(frame, exogenous=Exogenous(stat=("size",))).got == (
            "a value that changes, first in series 'b' at 2020-01-04"
        )

    def test_too_many_categories(self) -> None:
        ids = tuple(f"s{i:02}" for i in range(33))
        frame = table(ids=ids).assign(name=lambda frame: frame["unique_id"])
        error = refusal(frame, exogenous=Exogenous(stat=("name",)))
        assert (error.field, error.got) == ("name", "33 categories")
        assert "at most 32" in error.remedy
        kept = frame[frame["unique_id"] != "s00"]
        assert prepared(kept, exogenous=Exogenous(stat=("name",))).static.shape == (32, 33)  # type: ignore[union-attr]

    @pytest.mark.parametrize(("value", "remedy"), [("text", "such as 'other'"), (1.0, "fill them first")])
    def test_missing(self, value: object, remedy: str) -> None:
        frame = table()
        frame["size"] = frame["unique_id"].map({"a": value, "b": None})
        error = refusal(frame, exogenous=Exogenous(stat=("size",)))
        assert error.field == "size"
        assert error.got == "30 missing values, the first in series 'b' at 2020-01-01"
        assert remedy in error.remedy


class TestFuture:
    exogenous = Exogenous(futr=("x",))

    @staticmethod
    def split(freq: str | int = "D", n: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return 30 - 5 rows of history a series, and the last 5 as the future."""
        frame = table(freq, n=n).assign(x=np.arange(2 * n) * 1.5)
        is_future = frame.groupby("unique_id").cumcount() >= n - 5
        return frame[~is_future], frame[is_future].drop(columns="y")

    @pytest.mark.parametrize("freq", ["D", "B", "MS", "2QS", "W-TUE", "15min", 1, 7])
    def test_is_cut_to_the_horizon_and_sorted(self, freq: str | int) -> None:
        history, future = self.split(freq)
        series = prepared(history, futr_table=future.sample(frac=1, random_state=0), exogenous=self.exogenous)
        expected = future.groupby("unique_id").head(3).reset_index(drop=True)
        pd.testing.assert_frame_equal(series.futr, expected.assign(ds=expected["ds"].astype(series.frame["ds"].dtype)))
        assert "futr_data: left out 4 rows outside the 3 steps after each series" in series.notes

    def test_exactly_the_horizon_is_not_noted(self) -> None:
        history, future = self.split()
        series = prepared(history, futr_table=future, exogenous=self.exogenous, horizon=5)
        assert not any("futr_data" in note for note in series.notes)

    def test_is_optional(self) -> None:
        assert prepared(self.split()[0], exogenous=self.exogenous).futr is None

    def test_without_columns_it_is_not_used(self) -> None:
        history, future = self.split()
        series = prepared(history, futr_table=future)
        assert series.futr is None
        assert "futr_data: not used, because there are no futr exogenous columns" in series.notes

    def test_of_one_series_without_ids(self) -> None:
        frame = table(ids=("a",)).drop(columns="unique_id").assign(x=1.0)
        series = prepared(frame.iloc[:20], futr_table=frame.iloc[20:], exogenous=self.exogenous)
        assert series.futr is not None
        assert series.futr["unique_id"].tolist() == ["series"] * 3

    def test_of_dropped_series_is_left_out(self) -> None:
        history, future = self.split()
        history = history.drop(index=range(20))
        series = prepared(history, futr_table=future, exogenous=self.exogenous, short_series="drop")
        assert series.futr is not None
        assert set(series.futr["unique_id"]) == {"b"}

    def refusal(self, future: pd.DataFrame, **changed: Any) -> InputError:
        error = refusal(self.split()[0], futr_table=future, exogenous=self.exogenous, **changed)
        assert error.field == "futr_data"
        return error

    def test_missing_column(self) -> None:
        error = self.refusal(self.split()[1].rename(columns={"x": "X"}))
        assert error.got == "no column 'x' (there are unique_id, ds, X)"
        assert "every futr exogenous column" in error.remedy

    def test_missing_time_column(self) -> None:
        assert "time_col with 'ds'" in str(self.refusal(self.split()[1].drop(columns="ds")).got)

    def test_missing_series(self) -> None:
        error = self.refusal(self.split()[1].query("unique_id == 'a'"))
        assert error.got == "no rows for 1 of 2 series, the first 'b'"
        assert "for the 3 steps (horizon) after the last row of each series" in error.remedy

    def test_missing_steps(self) -> None:
        error = self.refusal(self.split()[1], horizon=7)
        assert error.got == "no row for 4 of 14 steps, the first in series 'a' at 2020-01-31"
        assert "for the 7 steps (horizon)" in error.remedy

    def test_missing_values(self) -> None:
        future = self.split()[1]
        error = self.refusal(with_value(future, "x", future.index[1], None))
        assert error.got == "x with 1 missing value, the first in series 'a' at 2020-01-27"
        beyond = with_value(future, "x", future.index[4], None)
        assert prepared(self.split()[0], futr_table=beyond, exogenous=self.exogenous).futr is not None

    def test_duplicates(self) -> None:
        future = self.split()[1]
        assert "ds with 1 row with the id and time stamp" in str(self.refusal(pd.concat([future, future[:1]])).got)

    def test_other_kind_of_time(self) -> None:
        future = self.split()[1]
        error = self.refusal(future.assign(ds=future.groupby("unique_id").cumcount()))
        assert error.got == "int64 stamps after datetime64[ns] ones"

    def test_no_rows(self) -> None:
        assert self.refusal(self.split()[1][:0]).got == "data with no rows"


def assert_equal(left: Series, right: Series) -> None:
    pd.testing.assert_frame_equal(left.frame, right.frame)
    assert left.freq == right.freq
    for mine, other in ((left.static, right.static), (left.futr, right.futr)):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            pd.testing.assert_frame_equal(mine, other)


@st.composite
def regular_tables(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, str | int]:
    freq = draw(st.sampled_from(["D", "B", "h", "7min", "MS", "ME", "QS", "YE", "W-THU", "3D", 1, 12]))
    values = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20, max_size=20))
    parts = []
    for name in draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True)):
        n = draw(st.integers(4, 20))
        start = draw(st.integers(0, 1000))
        if isinstance(freq, int):
            stamps: Any = (start + np.arange(n)) * freq
        else:
            stamps = pd.date_range(pd.Timestamp("2001-02-03") + pd.Timedelta(days=start), periods=n, freq=freq)
        part = {"unique_id": name, "ds": stamps, "y": values[:n], "x": values[-n:], "size": len(name)}
        parts.append(pd.DataFrame(part))
    frame = pd.concat(parts, ignore_index=True)
    return frame, frame.sample(frac=1, random_state=draw(st.integers(0, 99))), freq


class TestParquet:
    @settings(max_examples=40, deadline=None)
    @given(regular_tables())
    def test_any_regular_table_survives_shuffling_and_storing(
        self, tables: tuple[pd.DataFrame, pd.DataFrame, str | int]
    ) -> None:
        frame, shuffled, freq = tables
        common = {"exogenous": Exogenous(hist=("x",), stat=("size",)), "freq": freq, "min_length": 4}
        series = prepared(frame, **common)
        assert_equal(prepared(shuffled, **common), series)
        assert_equal(Series.from_parquet(series.to_parquet()), series)
        assert prepared(shuffled, **common).to_parquet() == series.to_parquet()
        pd.testing.assert_frame_equal(
            series.frame.assign(unique_id=series.frame["unique_id"].astype(object)),
            frame.sort_values(["unique_id", "ds"], ignore_index=True)
            .drop(columns="size")
            .astype({"unique_id": object, "ds": series.frame["ds"].dtype}),
        )

    @settings(max_examples=30, deadline=None)
    @given(regular_tables())
    def test_the_inferred_frequency_fits_as_the_given_one_does(
        self, tables: tuple[pd.DataFrame, pd.DataFrame, str | int]
    ) -> None:
        _, shuffled, freq = tables
        inferred = prepared(shuffled, min_length=4)
        pd.testing.assert_frame_equal(inferred.frame, prepared(shuffled, min_length=4, freq=freq).frame)

    def test_carries_static_and_future(self) -> None:
        history, future = TestFuture.split()
        history["size"] = 3
        series = prepared(history, futr_table=future, exogenous=Exogenous(futr=("x",), stat=("size",)))
        again = Series.from_parquet(series.to_parquet())
        assert_equal(again, series)
        assert again.notes == ()

    def test_integer_time_and_frequency_survive(self) -> None:
        series = prepared(table(5))
        assert_equal(Series.from_parquet(series.to_parquet()), series)

    def test_is_an_ordinary_parquet_file(self, tmp_path: Path) -> None:
        series = prepared(table())
        path = tmp_path / "series.parquet"
        path.write_bytes(series.to_parquet())
        pd.testing.assert_frame_equal(pd.read_parquet(path), series.frame)

    def test_other_bytes_are_refused(self, tmp_path: Path) -> None:
        table().to_parquet(tmp_path / "plain.parquet")
        plain = (tmp_path / "plain.parquet").read_bytes()
        with pytest.raises(ValueError, match=r"no castpool series; write it with Series\.to_parquet"):
            Series.from_parquet(plain)
        with pytest.raises(pa.ArrowInvalid):
            Series.from_parquet(b"PAR1 and nothing")

    def test_another_process_writes_the_same_bytes_without_training_libraries(self) -> None:
        code = (
            "import sys, hashlib, pandas as pd\n"
            "from castpool.workers.data.series_dataset import Columns, Exogenous, prepare\n"
            "ids = ['b'] * 9 + ['a'] * 9\n"
            "frame = pd.DataFrame({'unique_id': ids, 'ds': list(range(9)) * 2, 'y': 0.1, 'kind': 'k'})\n"
            "series = prepare(frame, columns=Columns(), horizon=1, val_size=1, freq=1, min_length=1,"
            " exogenous=Exogenous(stat=('kind',)))\n"
            "assert not {'torch', 'neuralforecast', 'ray'} & set(sys.modules)\n"
            "print(hashlib.sha256(series.to_parquet()).hexdigest())\n"
        )
        frame = pd.DataFrame({"unique_id": ["a"] * 9 + ["b"] * 9, "ds": list(range(9)) * 2, "y": 0.1, "kind": "k"})
        series = prepared(frame, freq=1, min_length=1, exogenous=Exogenous(stat=("kind",)))
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == hashlib.sha256(series.to_parquet()).hexdigest()


def test_a_million_rows_take_seconds() -> None:
    n_series, n = 1000, 1000
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"series {i}" for i in range(n_series)], n),
            "ds": np.tile(pd.date_range("2020-01-01", periods=n, freq="h"), n_series),
            "y": np.random.default_rng(0).random(n_series * n),
        }
    ).sample(frac=1, random_state=0)
    started = time.perf_counter()
    series = prepared(frame)
    assert (series.n_series, series.freq) == (n_series, "h")
    assert time.perf_counter() - started < 20  # about 1 s on an idle core


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"no data sets at {SHARED_DATA}")
class TestRealData:
    @staticmethod
    def read(name: str) -> pd.DataFrame:
        return read_table(SHARED_DATA / f"{name}.parquet")

    @pytest.mark.parametrize(
        ("name", "freq", "n_series"),
        [
            ("air_passengers", "MS", 1),
            ("ercot_zones", "h", 8),
            ("etth1", "h", 1),
            ("tourism_quarterly", "QS", 304),
            ("fx_monthly", "MS", 34),
            ("nyc_taxi_30min", "30min", 1),
            ("epf_short", "h", 4),
        ],
    )
    def test_regular_data_pass(self, name: str, freq: str, n_series: int) -> None:
        frame = self.read(name)
        series = prepared(frame)
        assert (series.freq, series.n_series, len(series.frame)) == (freq, n_series, len(frame))
        assert_equal(Series.from_parquet(series.to_parquet()), series)

    @pytest.mark.parametrize(
        ("name", "given", "got"),
        [
            ("peyton_manning", None, "59 missing steps of 'D' in 1 of 1 series"),
            ("peyton_manning", None, "29 gaps in all, the longest of 19"),
            ("brent_daily", "B", "282 missing steps of 'B'"),
            ("brent_daily", None, "282 missing steps of 'B'"),
            ("nab_drift_5min", None, "1 missing step of '5min' in 1 of 4 series, the first in series 'rds_cc0c53"),
        ],
    )
    def test_gaps_are_found(self, name: str, given: str | None, got: str) -> None:
        error = refusal(self.read(name), freq=given)
        assert error.field == "ds"
        assert got in str(error.got)
        assert "fill_gaps" in error.remedy

    def test_static_columns(self) -> None:
        frame = self.read("tourism_quarterly")
        series = prepared(frame, exogenous=Exogenous(stat=("state", "purpose")))
        assert series.static is not None
        assert series.static.shape == (304, 1 + frame["state"].nunique() + frame["purpose"].nunique())
        assert refusal(frame, exogenous=Exogenous(stat=("region",))).got == "76 categories"

    def test_future_columns(self) -> None:
        names = ("Exogenous1", "Exogenous2", *(f"day_{day}" for day in range(7)))
        future = self.read("epf_short_future")
        series = prepared(self.read("epf_short"), horizon=24, exogenous=Exogenous(futr=names), futr_table=future)
        assert series.futr is not None
        pd.testing.assert_frame_equal(series.futr, future.astype(dict.fromkeys(names, "float64")), check_dtype=False)
