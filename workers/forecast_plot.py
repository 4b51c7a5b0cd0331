"""A forecast as a picture, where nobody opens a page: in optuna-dashboard, in MLflow, in a mail."""

from __future__ import annotations

import io
import re

import pandas as pd

from workers.plots import ACCENT, INK

SHOWN_SERIES = 4
HORIZONS_BEFORE = 5


def forecast_plot(history: pd.DataFrame, forecast: pd.DataFrame, title: str) -> bytes:
    """Return a PNG of the first series: the end of each history, its forecast, and the widest interval there is.

    Args:
        history: ``unique_id``, ``ds``, ``y``.
        forecast: ``unique_id``, ``ds``, and the model's columns.
        title: what it is a forecast of.
    """
    from matplotlib.figure import Figure  # half a second, for those who draw

    shown = forecast["unique_id"].drop_duplicates().head(SHOWN_SERIES).tolist()
    figure = Figure(figsize=(8, 1 + 2.2 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), squeeze=False)[:, 0]
    point, low, high = _columns(forecast)
    for name, axis in zip(shown, axes, strict=True):
        ahead = forecast[forecast["unique_id"] == name]
        past = history[history["unique_id"] == name].tail((HORIZONS_BEFORE + 1) * len(ahead))
        axis.plot(past["ds"], past["y"], color=INK, linewidth=1.2, label="history")
        axis.plot(ahead["ds"], ahead[point], color=ACCENT, linewidth=1.8, marker=".", label=_plain(point))
        if low is not None and high is not None:
            label = _plain(f"{low} to {high}")
            axis.fill_between(ahead["ds"], ahead[low], ahead[high], color=ACCENT, alpha=0.15, label=label)
        axis.set_title(_plain(str(name)), loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(_plain(title), fontsize=10)
    written = io.BytesIO()
    # Without the time of its making: equal forecasts give equal files.
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return written.getvalue()


def _plain(text: str) -> str:
    """Return a text in which matplotlib reads no formula."""
    return text.replace("$", r"\$")


def _columns(forecast: pd.DataFrame) -> tuple[str, str | None, str | None]:
    """Return the columns of the forecast itself, and of the ends of its widest interval."""
    names = [own for own in forecast.columns if own not in ("unique_id", "ds")]
    lows = {own: found for own in names if (found := re.fullmatch(r"(.+)-lo-([\d.]+)", own))}
    # Quantiles that lie unevenly have a lower end without an upper one.
    levels = {own: float(found[2]) for own, found in lows.items() if f"{found[1]}-hi-{found[2]}" in names}
    plain = [own for own in names if not re.search(r"-(lo|hi)-[\d.]+$", own)]
    point = next((own for own in plain if own.endswith("-median")), plain[0] if plain else names[0])
    if not levels:
        return point, None, None
    low = max(levels, key=lambda own: levels[own])
    return point, low, re.sub(r"-lo-([\d.]+)$", r"-hi-\1", low)
