"""The chart of a verdict: the gain of the delivered forecast over each other one, with its 95 % interval."""

from __future__ import annotations

from html import escape

from castpool.workers.evaluation.verdict import Comparison, Verdict
from castpool.workers.reporting.study_charts import GREEN, GREY, RED, Chart, Figure

# A gain below this is drawn at the edge of the chart: one very bad competitor would make all others look alike.
LOWEST_DRAWN = -1.0


def draw_gains(verdict: Verdict) -> Chart:
    """Return the gains in percent, the smallest at the top: green is surely better, red surely worse, grey not sure."""
    if not verdict.comparisons:
        return Chart()
    ordered = sorted(verdict.comparisons, key=lambda comparison: -comparison.gain)
    # plotly interprets some HTML in names; escaped names are shown literally.
    names = [escape(comparison.against) for comparison in ordered]
    points: Figure = {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [_drawn(comparison.gain) for comparison in ordered],
        "y": names,
        "marker": {
            "color": [_colour(comparison) for comparison in ordered],
            "size": 11,
            "symbol": ["circle" if comparison.gain >= LOWEST_DRAWN else "triangle-left" for comparison in ordered],
        },
        "customdata": [describe_gain(comparison) for comparison in ordered],
        "hovertemplate": "%{y}: %{customdata}<extra></extra>",
    }
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "dash": "dot"}}
    ends = [end for each in ordered for end in (each.gain, each.low, each.high) if end is not None]
    left, right = _drawn(min(0.0, *ends)), _drawn(max(0.0, *ends))
    margin = max(1.0, 0.06 * (right - left))
    layout = {
        "height": 100 + 38 * len(ordered),
        "margin": {"l": 8, "r": 16, "t": 28, "b": 48},
        "shapes": [zero],
        "xaxis": {"title": {"text": "gain, %"}, "range": [left - margin, right + margin]},
        "yaxis": {"type": "category", "range": [-0.5, len(ordered) - 0.5], "fixedrange": True},
    }
    intervals = [_interval(comparison) for comparison in ordered if comparison.low is not None]
    return Chart(({"data": [*intervals, points], "layout": layout},))


def describe_gain(comparison: Comparison) -> str:
    """Return a gain with its interval: ``12 % (7 to 16)``."""
    gain = format_percent(comparison.gain)
    if comparison.low is None or comparison.high is None:
        return gain
    low, high = (format_percent(end).removesuffix(" %") for end in (comparison.low, comparison.high))
    return f"{gain} ({low} to {high})"


def format_percent(share: float) -> str:
    """Return a share in whole percent; never ``-0 %``."""
    return f"{round(100 * share) or 0} %"


def _interval(comparison: Comparison) -> Figure:
    low, high = comparison.low, comparison.high
    assert low is not None and high is not None
    return {
        "type": "scatter",
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "x": [_drawn(low), _drawn(high)],
        "y": [escape(comparison.against)] * 2,
        "line": {"color": _colour(comparison), "width": 3},
    }


def _drawn(gain: float) -> float:
    return 100 * max(gain, LOWEST_DRAWN)


def _colour(comparison: Comparison) -> str:
    if not comparison.is_certain:
        return GREY
    return GREEN if comparison.gain > 0 else RED
