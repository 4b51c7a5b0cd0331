"""A forecast as a picture."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.image
import pandas as pd
import pytest
from matplotlib.figure import Figure

from castpool.workers.reporting.forecast_plot import TITLE_WIDTH, delivered_columns, draw_forecast, member_columns
from castpool.workers.results.forecast import add_ensemble
from tests.acceptance.conftest import monthly


def ahead(n_series: int, *columns: str) -> pd.DataFrame:
    frame = monthly(n_series, length=66).groupby("unique_id").tail(6)[["unique_id", "ds"]].reset_index(drop=True)
    return frame.assign(**{name: 11.0 + number for number, name in enumerate(columns)})


def test_it_is_a_png_that_grows_with_the_series_and_ends() -> None:
    heights = []
    for n_series in (1, 2, 4, 9):
        drawn = draw_forecast(monthly(n_series), ahead(n_series, "NHITS"), "a title")
        heights.append(matplotlib.image.imread(io.BytesIO(drawn), format="png").shape[0])
    assert heights[0] < heights[1] < heights[2] == heights[3]


def test_the_same_forecast_is_the_same_file() -> None:
    assert draw_forecast(monthly(1), ahead(1, "NHITS"), "t") == draw_forecast(monthly(1), ahead(1, "NHITS"), "t")


@pytest.fixture
def drawn_labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the legends that have been drawn, in their order."""
    labels: list[str] = []
    save = Figure.savefig

    def record_labels(figure: Figure, *arguments: Any, **options: Any) -> None:
        labels.extend(figure.axes[0].get_legend_handles_labels()[1])
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", record_labels)
    return labels


@pytest.mark.parametrize(
    ("columns", "drawn"),
    [
        (("NHITS",), ["NHITS"]),
        (("NHITS-median", "NHITS-lo-80", "NHITS-hi-80"), ["NHITS-median", "NHITS-lo-80 to NHITS-hi-80"]),
        (("NHITS-lo-90.0", "NHITS-median", "NHITS-hi-80.0"), ["NHITS-median"]),
        (
            ("NHITS", "NHITS-median", "NHITS-lo-99.5", "NHITS-lo-80", "NHITS-hi-80", "NHITS-hi-99.5"),
            ["NHITS-median", "NHITS-lo-99.5 to NHITS-hi-99.5"],
        ),
    ],
)
def test_the_widest_interval_is_drawn_around_the_median(
    columns: tuple[str, ...], drawn: list[str], drawn_labels: list[str]
) -> None:
    assert draw_forecast(monthly(1), ahead(1, *columns), "t").startswith(b"\x89PNG")
    assert drawn_labels == ["history", *drawn]


POINTS, MEDIANS = ("NHITS_1", "NHITS_2", "AutoETS"), ("NHITS_1-median", "NHITS_2-median", "AutoETS-median")


def averaged(*suffixes: str) -> pd.DataFrame:
    """A forecast of an ensemble, as a result has it."""
    columns = [f"{name}{suffix}" for name in POINTS for suffix in suffixes]
    return add_ensemble(ahead(1, *columns), {"NHITS_1": 0.5, "NHITS_2": 0.3, "AutoETS": 0.2})


@pytest.mark.parametrize(
    ("suffixes", "members", "drawn"),
    [
        (("",), POINTS, ["ensemble"]),
        (("", "-lo-80", "-hi-80"), POINTS, ["ensemble", "ensemble-lo-80 to ensemble-hi-80"]),
        (
            ("-median", "-lo-80", "-hi-80", "-lo-95", "-hi-95"),
            MEDIANS,
            ["ensemble-median", "ensemble-lo-95 to ensemble-hi-95"],
        ),
        # Parameters of a distribution are no forecasts.
        (("", "-median", "-loc", "-scale"), MEDIANS, ["ensemble-median"]),
    ],
)
def test_an_ensemble_is_drawn_before_its_members(
    suffixes: tuple[str, ...], members: tuple[str, ...], drawn: list[str], drawn_labels: list[str]
) -> None:
    forecast = averaged(*suffixes)
    assert delivered_columns(forecast) == [f"ensemble{suffix}" for suffix in suffixes]
    assert member_columns(forecast) == list(members)
    draw_forecast(monthly(1), forecast, "t")
    assert drawn_labels == ["history", "members", *drawn]


def test_a_single_model_has_no_members() -> None:
    columns = ("NHITS", "NHITS-lo-80", "NHITS-hi-80")
    assert delivered_columns(ahead(1, *columns)) == list(columns)
    assert member_columns(ahead(1, *columns)) == []


def test_a_long_title_is_broken_into_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(Figure, "suptitle", lambda figure, title, **options: titles.append(title))
    draw_forecast(monthly(1), ahead(1, "NHITS"), "better than seasonal naive by 12 % " * 5)
    [title] = titles
    assert 1 < len(title.splitlines()) < 4
    assert max(map(len, title.splitlines())) <= TITLE_WIDTH


def test_a_name_is_no_formula() -> None:
    frame, forecast = monthly(1).assign(unique_id="$x_$"), ahead(1, "NHITS").assign(unique_id="$x_$")
    assert draw_forecast(frame, forecast, "a $ and a $_{").startswith(b"\x89PNG")
