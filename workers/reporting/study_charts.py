"""The charts of a report: Optuna's plots of a study in the style of the page, as plain data for plotly.js.

plotly itself is imported only when a chart is drawn.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from castpool.sampler_policies.spaces.space import Space
from castpool.storage.budget.default_slot import is_default
from castpool.workers.reporting.trial_parameters import decode_trials, parameter_name

log = logging.getLogger("castpool.report")

Figure = dict[str, Any]

# More lines than this make a page slow and a chart unreadable.
DRAWN_TRIALS = 300

INK, ACCENT, GREY, GREEN, RED, ORANGE = "#2d3748", "#2f6fb3", "#a0aab8", "#3a9461", "#c64545", "#d9822b"
STATES = {
    "COMPLETE": ("complete", ACCENT),
    "PRUNED": ("pruned", GREY),
    "FAIL": ("failed", RED),
    "RUNNING": ("running", GREEN),
    "WAITING": ("waiting", GREY),
}
BLUES = [[0, "#b9d3ee"], [1, "#123c69"]]
AXIS = {"gridcolor": "#e6e9ee", "zeroline": False, "automargin": True, "title": {"font": {"size": 13}, "standoff": 8}}
TEMPLATE = {
    "layout": {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [ACCENT, ORANGE, GREEN, "#8b62b5", RED],
        "margin": {"l": 64, "r": 24, "t": 24, "b": 48},
        "xaxis": AXIS,
        "yaxis": AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": INK},
        "hoverlabel": {"align": "left"},
    }
}


@dataclass(frozen=True)
class Chart:
    """One chart, several small ones side by side, or none; ``note`` explains the chart, or why there is none."""

    figures: tuple[Figure, ...] = ()
    note: str = ""
    min_width: int = 0
    title: str = ""


def draw_charts(
    trials: Sequence[FrozenTrial], space: Space | None, best: int | None, default_value: float | None
) -> list[Chart]:
    """Return Optuna's plots of a study's trials.

    Args:
        trials: every trial of the study.
        space: decodes the parameters; None where a function is the search space.
        best: the number of the best trial.
        default_value: the loss of the model's defaults.
    """
    complete = sorted((trial for trial in trials if trial.state is TrialState.COMPLETE), key=_loss)
    complete = [trial for trial in complete if _loss(trial) < math.inf]
    drawings: dict[str, Callable[[], Chart]] = {
        "Optimization history": lambda: _history(trials, complete, default_value),
        "Loss during training": lambda: _training(trials, best),
        "Hyper-parameter importance": lambda: _importance(complete, space),
        "Parallel coordinates": lambda: _parallel(complete, space),
        "Loss by parameter": lambda: _slices(complete, space),
        "Timeline": lambda: _timeline(trials),
    }
    return [_draw(title, draw) for title, draw in drawings.items()]


def _draw(title: str, draw: Callable[[], Chart]) -> Chart:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return replace(draw(), title=title)
    except Exception as error:
        # A failing chart must not prevent the report.
        log.warning("the report lacks the chart %r, which Optuna could not draw", title, exc_info=True)
        return Chart((), f"Optuna could not draw this chart ({type(error).__name__}: {error}).", title=title)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _history(trials: Sequence[FrozenTrial], complete: Sequence[FrozenTrial], default_value: float | None) -> Chart:
    if not complete:
        return Chart(note="No trial completed.")
    figure = optuna.visualization.plot_optimization_history(_study(trials), target_name="loss")
    figure.data[0].update(name="complete trials", marker={"color": ACCENT, "size": 7})
    figure.data[1].update(name="best so far", line={"shape": "hv", "color": INK, "width": 1.5})
    losses = [_loss(trial) for trial in complete]
    if default_value is not None:
        line = {"dash": "dash", "color": ORANGE, "width": 1.5}
        ends = {"x": [-0.5, len(trials) - 0.5], "y": [default_value] * 2}
        figure.add_scatter(**ends, mode="lines", line=line, name=f"the defaults: {default_value:.5g}")
    figure.update_xaxes(title="trial")
    return Chart((_to_plotly(figure, losses),))


def _training(trials: Sequence[FrozenTrial], best: int | None) -> Chart:
    reported = [trial for trial in trials if trial.intermediate_values and trial.state is not TrialState.FAIL]
    if not reported:
        return Chart(note="No trial reported a loss.")
    kept = sorted(reported, key=lambda trial: (trial.number != best, not is_default(trial), _loss(trial)))
    kept = kept[:DRAWN_TRIALS]
    # The lines that are drawn last lie on top.
    kept.sort(key=lambda trial: (trial.number == best, is_default(trial), trial.state is TrialState.COMPLETE))
    figure = optuna.visualization.plot_intermediate_values(_study(kept))
    groups = set()
    for line, trial in zip(figure.data, kept, strict=True):
        group, colour, width = *STATES[trial.state.name], 1.0
        if trial.number == best:
            group, colour, width = "best", INK, 2.5
        elif is_default(trial):
            group, colour, width = "the defaults", ORANGE, 2.0
        line.update(name=group, legendgroup=group, showlegend=group not in groups)
        line.update(line={"color": colour, "width": width}, marker={"color": colour, "size": 4})
        line.hovertemplate = f"trial {trial.number}, step %{{x}}: %{{y:.6~g}}<extra></extra>"
        groups.add(group)
    figure.update_layout(showlegend=True, xaxis_title="training step", yaxis_title="validation loss")
    losses = [value for trial in kept for value in trial.intermediate_values.values() if math.isfinite(value)]
    note = _describe_selection(len(kept), len(reported), "trials that reported a loss")
    return Chart((_to_plotly(figure, losses),), note)


def _importance(complete: Sequence[FrozenTrial], space: Space | None) -> Chart:
    if len(complete) < 2:
        return Chart(note=f"Importance needs two complete trials; complete trials so far: {len(complete)}.")
    study, varied = _study(complete), _varied(complete)
    shares = optuna.importance.get_param_importances(study, params=varied, normalize=False)
    if sum(shares.values()) == 0:
        return Chart(note="In the complete trials, no parameter matters more than another.")
    figure = optuna.visualization.plot_param_importances(study, params=varied)
    names = [parameter_name(space, label) for label in figure.data[0].y]
    figure.data[0].update(y=names, marker={"color": ACCENT}, hovertemplate="%{y}: %{x:.3f}<extra></extra>")
    figure.update_layout(xaxis_title="share in reaching the best tenth of the losses", yaxis_title=None)
    note = f"From {len(complete)} complete trials, by PED-ANOVA."
    # Optuna advises at least five trials in the best tenth.
    few = " With fewer than 50, it is only a hint." if len(complete) < 50 else ""
    return Chart((_to_plotly(figure, height=90 + 28 * len(names)),), note + few)


def _parallel(complete: Sequence[FrozenTrial], space: Space | None) -> Chart:
    kept = decode_trials(complete[:DRAWN_TRIALS], space)
    names = {name for trial in kept for name in trial.params}
    if len(kept) < 2 or not names:
        return Chart(note="This chart needs two complete trials and a parameter.")
    figure = optuna.visualization.plot_parallel_coordinate(_study(kept), target_name="loss")
    # Optuna's colours follow the loss, so one outlier makes all others look alike; the order of the losses does not.
    # Optuna's first axis is the loss. The lines that are drawn last lie on top.
    lines = sorted((line for line in figure.data if line.mode == "lines"), key=lambda line: -line.y[0])
    for place, line in enumerate(lines, 1):
        line.update(line={"color": ACCENT, "width": 1.2}, opacity=0.15 + 0.65 * (place / len(lines)) ** 2)
    lines[-1].update(line={"color": INK, "width": 2.5}, opacity=1)
    figure.data = lines
    note = "Each line is a complete trial; fainter lines have higher losses. "
    note += _describe_selection(len(kept), len(complete), "complete trials")
    return Chart((_to_plotly(figure, height=340),), note, min_width=120 * len(names))


def _slices(complete: Sequence[FrozenTrial], space: Space | None) -> Chart:
    # Optuna colours points by their place in the study.
    shown = decode_trials(sorted(complete, key=lambda trial: trial.number), space)
    study, losses = _study(shown), [_loss(trial) for trial in complete]
    figures = []
    for name in _varied(shown):
        figure = optuna.visualization.plot_slice(study, params=[name], target_name="loss")
        figure.data[0].marker.update(colorscale=BLUES, showscale=False)
        # Optuna labels choices as Python writes them, quotes included.
        if figure.layout.xaxis.type == "category":
            labels = figure.layout.xaxis.categoryarray
            figure.update_xaxes(tickvals=labels, ticktext=[label.strip("'") for label in labels])
        figures.append(_to_plotly(figure, losses, height=280))
    if not figures:
        return Chart(note="This chart needs complete trials with different parameters.")
    return Chart(tuple(figures), "Each point is a complete trial; fainter points are earlier.")


def _timeline(trials: Sequence[FrozenTrial]) -> Chart:
    if not trials:
        return Chart(note="There are no trials.")
    figure = optuna.visualization.plot_timeline(_study(decode_trials(trials, None)))
    for bars in figure.data:
        group, colour = STATES[bars.name]
        bars.update(name=group, marker={"color": colour}, hovertemplate=f"%{{text}}<extra>{group}</extra>")
    figure.update_layout(xaxis_title=None, yaxis_title="trial")
    return Chart((_to_plotly(figure, height=min(max(240, 120 + 10 * len(trials)), 700)),))


def _study(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory: charts do not query the storage, and all show the same trials."""
    study = optuna.create_study()
    study.add_trials(trials)
    return study


def _varied(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that had more than one value."""
    seen = {(name, value) for trial in trials for name, value in trial.params.items()}
    return sorted(name for name, values in Counter(name for name, _ in seen).items() if values > 1)


def _to_plotly(figure: Any, losses: Sequence[float] = (), *, height: int = 380) -> Figure:
    """Return the figure's data without Optuna's title and colours; a log axis where losses differ by magnitudes."""
    figure.update_layout(title=None, template=None, width=None, height=height, plot_bgcolor=None)
    if losses and min(losses) > 0 and max(losses) > 30 * min(losses):
        figure.update_yaxes(type="log")
    drawn: Figure = figure.to_plotly_json()
    return drawn


def _describe_selection(shown: int, total: int, what: str) -> str:
    return f"The chart shows the best {shown} of {total} {what}." if shown < total else ""


def _loss(trial: FrozenTrial) -> float:
    return trial.value if trial.value is not None and math.isfinite(trial.value) else math.inf
