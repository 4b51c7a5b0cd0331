"""The forecast in the report: each series with the end of its history, one shown at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from html import escape
from itertools import cycle

import pandas as pd

from castpool.workers.reporting.forecast_plot import delivered_columns, member_columns
from castpool.workers.reporting.study_charts import ACCENT, GREEN, GREY, INK, ORANGE, Figure

SHOWN_SERIES = 50
SHOWN_HISTORY = 200


def draw_series(history: pd.DataFrame, forecast: pd.DataFrame, horizon: int) -> dict[str, list[Figure]]:
    """Return the traces of each series: the end of its history, and its forecast.

    Args:
        history: ``unique_id``, ``ds``, ``y``.
        forecast: ``unique_id``, ``ds`` and the models' columns.
        horizon: observations that are forecast.
    """
    if forecast.empty:
        return {}
    shown = forecast["unique_id"].drop_duplicates().head(SHOWN_SERIES).tolist()
    recent = history[history["unique_id"].isin(shown)].groupby("unique_id", observed=True)
    past = dict(iter(recent.tail(max(5 * horizon, SHOWN_HISTORY)).groupby("unique_id", observed=True)))
    ahead = dict(iter(forecast[forecast["unique_id"].isin(shown)].groupby("unique_id", observed=True)))
    none = history.head(0)
    return {
        str(series_id): [_line("history", past.get(series_id, none), "y", INK), *_forecast_lines(ahead[series_id])]
        for series_id in shown
    }


def render_forecast(series: Mapping[str, object], forecast: pd.DataFrame) -> str:
    """Return the content of the section: the choice of a series and the box of its chart.

    Args:
        series: by name, from `draw_series`.
        forecast: of all series.
    """
    if not series:
        return "<p>There is no forecast.</p>"
    left_out = forecast["unique_id"].nunique() - len(series)
    more = f" The first {len(series)} series are shown; {left_out} more have a forecast." if left_out else ""
    options = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(series))
    chooser = f'<label>Series <select id="series">{options}</select></label><span class="dim">{more}</span>'
    return f'<p>{chooser}</p><div class="chart" id="forecast"></div>'


def _forecast_lines(rows: pd.DataFrame) -> list[Figure]:
    """Return a forecast's columns as lines, ``-lo-90`` and ``-hi-90`` as one band behind them, the widest first.

    Of an ensemble, the members are thin grey lines between the bands and the average.
    """
    columns = delivered_columns(rows)
    lows = [found for name in columns if (found := re.fullmatch(r"(.+)-lo-([\d.]+)", name))]
    bands = {(low[0], f"{low[1]}-hi-{low[2]}"): low[2] for low in lows if f"{low[1]}-hi-{low[2]}" in columns}
    traces = []
    for pair, level in sorted(bands.items(), key=lambda band: -float(band[1])):
        lower, upper = (_line(f"{level} % interval", rows, name, ACCENT, width=0.5) for name in pair)
        fill = {"fill": "tonexty", "fillcolor": "rgba(47,111,179,0.16)", "customdata": lower["y"]}
        traces.append({**lower, "showlegend": False, "hoverinfo": "skip"})
        traces.append({**upper, **fill, "hovertemplate": "%{customdata:.6~g} to %{y:.6~g}"})
    traces += [_line(name, rows, name, GREY, width=1) for name in member_columns(rows)]
    alone = [name for name in columns if not any(name in pair for pair in bands)]
    colours = cycle((ACCENT, ORANGE, GREEN))
    return traces + [_line(name, rows, name, colour) for name, colour in zip(alone, colours, strict=False)]


def _line(label: str, rows: pd.DataFrame, column: str, colour: str, width: float = 2) -> Figure:
    stamps = [stamp.isoformat() if isinstance(stamp, pd.Timestamp) else stamp for stamp in rows["ds"].tolist()]
    numbers = rows[column].astype(float).tolist()
    values = [float(f"{number:.6g}") if math.isfinite(number) else None for number in numbers]
    style = {"mode": "lines" if len(stamps) > 1 else "markers", "line": {"color": colour, "width": width}}
    # plotly interprets some HTML in names; escaped names are shown literally.
    return {"type": "scatter", "name": escape(label), "x": stamps, "y": values, **style, "marker": {"color": colour}}
