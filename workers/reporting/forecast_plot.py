"""A forecast as a picture, for places that show no HTML page: optuna-dashboard, MLflow, a mail."""

from __future__ import annotations

import io
import re
import textwrap

import pandas as pd

from castpool.workers.reporting.study_charts import ACCENT, GREY, INK

SHOWN_SERIES = 4
HORIZONS_BEFORE = 5
# As many letters of the title fit into a line.
TITLE_WIDTH = 110
# The columns of an average of several members. `results.forecast`, which writes them, can import nothing of castpool.
ENSEMBLE = "ensemble"


def draw_forecast(history: pd.DataFrame, forecast: pd.DataFrame, title: str) -> bytes:
    """Return a PNG of the first series: the end of each history, its forecast, and the widest prediction interval.

    Of an ensemble, the average is drawn with its interval, and the members as thin grey lines.

    Args:
        history: ``unique_id``, ``ds``, ``y``.
        forecast: ``unique_id``, ``ds``, and the models' columns.
        title: names the model or trial.
    """
    from matplotlib.figure import Figure  # this import takes half a second

    shown = forecast["unique_id"].drop_duplicates().head(SHOWN_SERIES).tolist()
    figure = Figure(figsize=(8, 1 + 2.2 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), squeeze=False)[:, 0]
    (point, low, high), members = _select_columns(forecast), member_columns(forecast)
    for name, axis in zip(shown, axes, strict=True):
        ahead = forecast[forecast["unique_id"] == name]
        past = history[history["unique_id"] == name].tail((HORIZONS_BEFORE + 1) * len(ahead))
        axis.plot(past["ds"], past["y"], color=INK, linewidth=1.2, label="history")
        for number, member in enumerate(members):
            label = "members" if number == 0 else None
            axis.plot(ahead["ds"], ahead[member], color=GREY, linewidth=0.8, label=label)
        axis.plot(ahead["ds"], ahead[point], color=ACCENT, linewidth=1.8, marker=".", label=_escape_formula(point))
        if low is not None and high is not None:
            label = _escape_formula(f"{low} to {high}")
            axis.fill_between(ahead["ds"], ahead[low], ahead[high], color=ACCENT, alpha=0.15, label=label)
        axis.set_title(_escape_formula(str(name)), loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(_escape_formula(textwrap.fill(title, TITLE_WIDTH)), fontsize=10)
    written = io.BytesIO()
    # Without a time stamp, so that equal forecasts give equal files.
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return written.getvalue()


def _escape_formula(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def model_columns(forecast: pd.DataFrame) -> list[str]:
    """Return the columns of a forecast that hold a model's values: all numbers but ``unique_id`` and ``ds``."""
    return [name for name in forecast.select_dtypes("number").columns if name not in ("unique_id", "ds")]


def delivered_columns(forecast: pd.DataFrame) -> list[str]:
    """Return the columns that a user is meant to use: the ensemble's where there is one, else the model's."""
    columns = model_columns(forecast)
    return [name for name in columns if re.fullmatch(rf"{ENSEMBLE}([-_].+)?", name)] or columns


def member_columns(forecast: pd.DataFrame) -> list[str]:
    """Return the column of each member that the ensemble's point forecast averages; none without an ensemble."""
    delivered = delivered_columns(forecast)
    others = [name for name in _point_columns(model_columns(forecast)) if name not in delivered]
    suffix = _select_columns(forecast)[0].removeprefix(ENSEMBLE) if others else ""
    return [name for name in others if name.endswith(suffix)]


def _point_columns(names: list[str]) -> list[str]:
    return [name for name in names if not re.search(r"-(lo|hi)-[\d.]+$", name)]


def _select_columns(forecast: pd.DataFrame) -> tuple[str, str | None, str | None]:
    """Return the column of the point forecast and the two columns of the widest interval, if there is one."""
    names = delivered_columns(forecast)
    lows = {name: found for name in names if (found := re.fullmatch(r"(.+)-lo-([\d.]+)", name))}
    # Quantiles without symmetry have a lower end without an upper one.
    levels = {name: float(found[2]) for name, found in lows.items() if f"{found[1]}-hi-{found[2]}" in names}
    points = _point_columns(names)
    point = next((name for name in points if name.endswith("-median")), points[0] if points else names[0])
    if not levels:
        return point, None, None
    low = max(levels, key=lambda name: levels[name])
    return point, low, re.sub(r"-lo-([\d.]+)$", r"-hi-\1", low)
