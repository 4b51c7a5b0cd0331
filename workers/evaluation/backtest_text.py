"""The words of a backtest: its tables for a terminal of 80 columns, and what to think of them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from castpool.workers.evaluation.backtest import CUTOFF, IS_SEARCHED, Backtest
from castpool.workers.evaluation.verdict_text import format_significant, shorten

_TABLE_WIDTH = 80
# Of a column for a competitor; shorter names mean nothing.
_FEWEST_LETTERS = 8


def format_backtest(backtest: Backtest) -> str:
    """Return the tables of a backtest, and a sentence on what they show."""
    parts = [format_competitors(backtest), format_windows(backtest), explain_backtest(backtest), *backtest.notes]
    return "\n\n".join(parts)


def backtest_values(backtest: Backtest) -> dict[str, Any]:
    """Return the errors of a backtest as JSON values, with what `explain_backtest` says."""
    by_window = [
        {
            "cutoff": str(row[CUTOFF]),
            "is_searched": bool(row[IS_SEARCHED]),
            **{name: float(row[name]) for name in backtest.competitors if math.isfinite(row[name])},
        }
        for _, row in backtest.by_window.iterrows()
    ]
    return {
        "metric": backtest.metric,
        "metrics": {name: dict(metrics) for name, metrics in backtest.metrics.items()},
        "by_window": by_window,
        "notes": [explain_backtest(backtest), *backtest.notes],
    }


def format_competitors(backtest: Backtest) -> str:
    """Return a row for each competitor, the delivered one first and the others by their error.

    ``gain`` is how much smaller the error of the first row is than that of this row; ``worst`` is the error in the
    competitor's worst window.
    """
    metric, metrics = backtest.metric, backtest.metrics
    delivered, *others = backtest.competitors
    error = metrics[delivered].get(metric)
    rows = {}
    for name in [delivered, *sorted(others, key=lambda each: metrics[each].get(metric, math.inf))]:
        value = metrics[name].get(metric)
        gain = "" if name == delivered or not value or error is None else f"{round(100 * (1 - error / value)) or 0} %"
        row = {metric.upper(): format_significant(value), "gain": gain}
        row["worst"] = format_significant(backtest.by_window[name].max())
        row |= {
            other.upper(): format_significant(metrics[name].get(other)) for other in ("mae", "mase") if other != metric
        }
        rows[name] = row
    return _align(pd.DataFrame.from_dict(rows, orient="index"))


def format_windows(backtest: Backtest) -> str:
    """Return a row for each window, the oldest first; `explain_backtest` says what ``*`` means."""
    by_window = backtest.by_window
    labels = _labels(by_window)
    names = backtest.competitors
    width = (_TABLE_WIDTH - max(len(label) for label in labels)) // len(names) - 2
    titles = [shorten(name, max(width, _FEWEST_LETTERS)) for name in names]
    cells = pd.DataFrame({name: by_window[name].map(format_significant).to_numpy() for name in names}, index=labels)
    cells.columns = pd.Index(titles)
    return f"{backtest.metric.upper()} by cutoff\n{_align(cells)}"


def explain_backtest(backtest: Backtest) -> str:
    """Return what the windows prove, in a sentence."""
    if not backtest.by_window[IS_SEARCHED].any():
        return "All windows lie in the holdout, which the search has not used."
    return (
        "* the search has used observations of this window to choose the configurations, which flatters the models: "
        "a backtest shows how stable the errors are over time; the honest number is the verdict on the holdout."
    )


def _labels(by_window: pd.DataFrame) -> list[str]:
    cutoffs = by_window[CUTOFF]
    is_date = pd.api.types.is_datetime64_any_dtype(cutoffs)
    has_time = is_date and (cutoffs != cutoffs.dt.normalize()).any()
    written = cutoffs.dt.strftime("%Y-%m-%d %H:%M" if has_time else "%Y-%m-%d") if is_date else cutoffs.astype(str)
    return [f"{label} {'*' if used else ' '}" for label, used in zip(written, by_window[IS_SEARCHED], strict=True)]


def _align(cells: pd.DataFrame) -> str:
    """Return the cells as lines: the names to the left, the columns to the right, two spaces between them."""
    columns = [["", *cells.index], *([title, *column] for title, column in cells.items())]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for name, *row in zip(*columns, strict=True):
        numbers = [cell.rjust(width) for cell, width in zip(row, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *numbers]).rstrip())
    return "\n".join(lines)
