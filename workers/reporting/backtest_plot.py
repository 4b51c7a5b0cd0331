"""A backtest as a picture: the error of each competitor by cutoff."""

from __future__ import annotations

import io

from castpool.workers.evaluation.backtest import CUTOFF, IS_SEARCHED, Backtest
from castpool.workers.reporting.study_charts import ACCENT, GREEN, GREY, INK, ORANGE, RED

# Of the delivered forecast, and of the others in their order; more than these are drawn in grey.
COLOURS = (ACCENT, INK, ORANGE, GREEN, "#8b62b5", RED)


def draw_backtest(backtest: Backtest, title: str) -> bytes:
    """Return a PNG: a line for each competitor over the cutoffs; windows that the search has used are shaded.

    Args:
        backtest: to draw.
        title: names the study.
    """
    from matplotlib.figure import Figure  # this import takes half a second

    by_window = backtest.by_window
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(backtest.competitors):
        colour = COLOURS[number] if number < len(COLOURS) else GREY
        width = 2.2 if number == 0 else 1.2
        axis.plot(by_window[CUTOFF], by_window[name], color=colour, linewidth=width, marker=".", label=_escape(name))
    if n_searched := int(by_window[IS_SEARCHED].sum()):  # the oldest ones
        left, right = limits = axis.get_xlim()
        if n_searched < len(by_window):
            last, following = by_window[CUTOFF].iloc[n_searched - 1 : n_searched + 1]
            middle = last + (following - last) / 2
            right = axis.convert_xunits(middle)  # type: ignore[no-untyped-call]
        label = "the search has used these windows"
        axis.axvspan(left, right, color=GREY, alpha=0.15, linewidth=0, label=label)
        axis.set_xlim(limits)
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.set_xlabel("cutoff", fontsize=9)
    axis.set_ylabel(backtest.metric.upper(), fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(_escape(title), fontsize=10)
    written = io.BytesIO()
    # Without a time stamp, so that equal backtests give equal files.
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return written.getvalue()


def _escape(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")
