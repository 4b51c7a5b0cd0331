"""A forecast as a picture."""

from __future__ import annotations

import io

import matplotlib.image
import pandas as pd
import pytest

from tests.acceptance.conftest import monthly
from workers.forecast_plot import _columns, forecast_plot


def ahead(n_series: int, *columns: str) -> pd.DataFrame:
    frame = monthly(n_series, length=66).groupby("unique_id").tail(6)[["unique_id", "ds"]].reset_index(drop=True)
    return frame.assign(**{name: 11.0 + number for number, name in enumerate(columns)})


def test_it_is_a_png_that_grows_with_the_series_and_ends() -> None:
    heights = []
    for n_series in (1, 2, 4, 9):
        drawn = forecast_plot(monthly(n_series), ahead(n_series, "NHITS"), "a title")
        heights.append(matplotlib.image.imread(io.BytesIO(drawn), format="png").shape[0])
    assert heights[0] < heights[1] < heights[2] == heights[3]


def test_the_same_forecast_is_the_same_file() -> None:
    assert forecast_plot(monthly(1), ahead(1, "NHITS"), "t") == forecast_plot(monthly(1), ahead(1, "NHITS"), "t")


@pytest.mark.parametrize(
    ("columns", "drawn"),
    [
        (("NHITS",), ("NHITS", None, None)),
        (("NHITS-median", "NHITS-lo-80", "NHITS-hi-80"), ("NHITS-median", "NHITS-lo-80", "NHITS-hi-80")),
        (("NHITS-lo-90.0", "NHITS-median", "NHITS-hi-80.0"), ("NHITS-median", None, None)),
        (
            ("NHITS", "NHITS-median", "NHITS-lo-99.5", "NHITS-lo-80", "NHITS-hi-80", "NHITS-hi-99.5"),
            ("NHITS-median", "NHITS-lo-99.5", "NHITS-hi-99.5"),
        ),
    ],
)
def test_the_widest_interval_is_drawn_around_the_median(
    columns: tuple[str, ...], drawn: tuple[str, str | None, str | None]
) -> None:
    assert _columns(ahead(1, *columns)) == drawn
    assert forecast_plot(monthly(1), ahead(1, *columns), "t").startswith(b"\x89PNG")


def test_a_name_is_no_formula() -> None:
    frame, forecast = monthly(1).assign(unique_id="$x_$"), ahead(1, "NHITS").assign(unique_id="$x_$")
    assert forecast_plot(frame, forecast, "a $ and a $_{").startswith(b"\x89PNG")
