"""The charts of a report: Optuna's own plots made calm, and the forecast beside its history.

All are plain data for plotly.js. plotly itself is imported only when a report is drawn.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

log = logging.getLogger("castpool.report")

Figure = dict[str, Any]

# More lines than this make a page slow and a chart unreadable.
DRAWN_TRIALS = 300
SHOWN_SERIES = 50
SHOWN_HISTORY = 200

INK, ACCENT, GREY, GREEN, RED, ORANGE = "#2d3748", "#2f6fb3", "#a0aab8", "#3a9461", "#c64545", "#d9822b"
STATES = {"COMPLETE": ACCENT, "PRUNED": GREY, "FAIL": RED, "RUNNING": GREEN, "WAITING": GREY}
BLUES = [[0, "#b9d3ee"], [1, "#123c69"]]
AXIS = {"gridcolor": "#e6e9ee", "linecolor": "#c5ccd6", "zeroline": False, "automargin": True}
TEMPLATE = {
    "layout": {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [ACCENT, ORANGE, GREEN, "#8b62b5", RED],
        "margin": {"l": 64, "r": 24, "t": 24, "b": 48},
        "xaxis": AXIS,
        "yaxis": AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"align": "left"},
    }
}


@dataclass(frozen=True)
class Chart:
    """One chart, several small ones side by side, or none; ``note`` says what to know, or why there is none."""

    title: str
    figures: tuple[Figure, ...] = ()
    note: str = ""


def readable_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the trial's parameters as the model got them: ``batch_size: 64`` where Optuna has ``log2(...): 6``."""
    config, readable = trial.user_attrs.get("config", {}), {}
    for label, stored in trial.params.items():
        coded = re.fullmatch(r"(?:log2|rank)\((.+)\)", label)
        if coded is not None and isinstance(config.get(coded[1]), int | float):
            readable[coded[1]] = config[coded[1]]
        else:
            readable[label] = stored
    return readable


def study_charts(trials: Sequence[FrozenTrial], best: int | None, default_value: float | None) -> list[Chart]:
    """Return Optuna's plots of all trials of a study; ``best`` is the winner's number."""
    complete = sorted((own for own in trials if own.state is TrialState.COMPLETE and _is_finite(own)), key=_loss)
    drawings: dict[str, Callable[[], Chart | Figure | str]] = {
        "Optimization history": lambda: _history(trials, complete, default_value),
        "Loss during training": lambda: _training(trials, best),
        "Hyper-parameter importance": lambda: _importance(complete),
        "Parallel coordinates": lambda: _parallel(complete),
        "Loss by parameter": lambda: _slices(complete),
        "Timeline": lambda: _timeline(trials),
    }
    return [_drawn(title, draw) for title, draw in drawings.items()]


def _drawn(title: str, draw: Callable[[], Chart]) -> Chart:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return replace(draw(), title=title)
    except Exception as error:
        # A report without one of its charts is worth more than none.
        log.warning("the report goes without %r", title, exc_info=True)
        return Chart(title, note=f"Optuna could not draw this ({type(error).__name__}: {error}).")
    finally:
        optuna.logging.set_verbosity(verbosity)
