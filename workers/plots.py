"""The charts of a report: Optuna's own plots of a study, made calm.

They are plain data for plotly.js. plotly itself is imported only when one is drawn.
"""

from __future__ import annotations

import copy
import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

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
    """One chart, several small ones side by side, or none; ``note`` says what to know of it, or why there is none."""

    figures: tuple[Figure, ...] = ()
    note: str = ""
    min_width: int = 0
    title: str = ""


def decoded_values(trials: Sequence[FrozenTrial]) -> dict[str, dict[Any, Any]]:
    """Return what the numbers behind ``log2(name)`` and ``rank(name)`` stand for, as the configurations tell."""
    decoded: dict[str, dict[Any, Any]] = {}
    for own in trials:
        config = own.user_attrs.get("config", {})
        for label, stored in own.params.items():
            name = _own_name(label)
            if name != label and isinstance(config.get(name), int | float):
                decoded.setdefault(label, {})[stored] = config[name]
    return decoded


def readable_params(trial: FrozenTrial, decoded: Mapping[str, Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the trial's parameters as the model got them: ``batch_size: 64`` where Optuna has ``log2(...): 6``."""
    readable = {}
    for label, stored in trial.params.items():
        is_known = stored in decoded.get(label, {})
        readable[_own_name(label) if is_known else label] = decoded[label][stored] if is_known else stored
    return readable


def study_charts(trials: Sequence[FrozenTrial], best: int | None, default_value: float | None) -> list[Chart]:
    """Return Optuna's plots of a study's trials, all of them; ``best`` is the winner's number."""
    complete = sorted((own for own in trials if own.state is TrialState.COMPLETE), key=_loss)
    complete = [own for own in complete if _loss(own) < math.inf]
    drawings: dict[str, Callable[[], Chart]] = {
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
        return Chart((), f"Optuna could not draw this ({type(error).__name__}: {error}).", title=title)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _history(trials: Sequence[FrozenTrial], complete: Sequence[FrozenTrial], default_value: float | None) -> Chart:
    if not complete:
        return Chart(note="No trial completed.")
    figure = optuna.visualization.plot_optimization_history(_study(trials), target_name="loss")
    figure.data[0].update(name="complete trials", marker={"color": ACCENT, "size": 7})
    figure.data[1].update(name="best so far", line={"shape": "hv", "color": INK, "width": 1.5})
    losses = [_loss(own) for own in complete]
    if default_value is not None:
        line = {"dash": "dash", "color": ORANGE, "width": 1.5}
        ends = {"x": [-0.5, len(trials) - 0.5], "y": [default_value] * 2}
        figure.add_scatter(**ends, mode="lines", line=line, name=f"the defaults: {default_value:.5g}")
    figure.update_xaxes(title="trial")
    return Chart((_calm(figure, losses),))


def _training(trials: Sequence[FrozenTrial], best: int | None) -> Chart:
    reported = [own for own in trials if own.intermediate_values and own.state is not TrialState.FAIL]
    if not reported:
        return Chart(note="No trial reported a loss.")
    kept = sorted(reported, key=lambda own: (own.number != best, not is_default(own), _loss(own)))[:DRAWN_TRIALS]
    # What is drawn last lies on top.
    kept.sort(key=lambda own: (own.number == best, is_default(own), own.state is TrialState.COMPLETE))
    figure = optuna.visualization.plot_intermediate_values(_study(kept))
    groups = set()
    for line, own in zip(figure.data, kept, strict=True):
        group, colour, width = STATES[own.state.name][0], STATES[own.state.name][1], 1.0
        if own.number == best:
            group, colour, width = "best", INK, 2.5
        elif is_default(own):
            group, colour, width = "the defaults", ORANGE, 2.0
        line.update(name=group, legendgroup=group, showlegend=group not in groups)
        line.update(line={"color": colour, "width": width}, marker={"color": colour, "size": 4})
        line.hovertemplate = f"trial {own.number}, step %{{x}}: %{{y:.6~g}}<extra></extra>"
        groups.add(group)
    figure.update_layout(showlegend=True, xaxis_title="training step", yaxis_title="validation loss")
    losses = [value for own in kept for value in own.intermediate_values.values() if math.isfinite(value)]
    return Chart((_calm(figure, losses),), _kept(len(kept), len(reported), "trials that reported a loss"))


def _importance(complete: Sequence[FrozenTrial]) -> Chart:
    if len(complete) < 2:
        return Chart(note=f"Importance needs two complete trials, and there are {len(complete)}.")
    study, varied = _study(complete), _varied(complete)
    shares = optuna.importance.get_param_importances(study, params=varied, normalize=False)
    if sum(shares.values()) == 0:
        return Chart(note="The complete trials do not show any parameter to matter more than another.")
    figure = optuna.visualization.plot_param_importances(study, params=varied)
    names = [_own_name(label) for label in figure.data[0].y]
    figure.data[0].update(y=names, marker={"color": ACCENT}, hovertemplate="%{y}: %{x:.3f}<extra></extra>")
    figure.update_layout(xaxis_title="share in reaching the best tenth of the losses", yaxis_title=None)
    note = f"From {len(complete)} complete trials, by PED-ANOVA."
    # Optuna advises at least five trials in the best tenth.
    few = " With fewer than 50, take it as a hint." if len(complete) < 50 else ""
    return Chart((_calm(figure, height=90 + 28 * len(names)),), note + few)


def _parallel(complete: Sequence[FrozenTrial]) -> Chart:
    kept = _readable(complete[:DRAWN_TRIALS])
    names = {name for own in kept for name in own.params}
    if len(kept) < 2 or not names:
        return Chart(note="This needs two complete trials and a parameter.")
    figure = optuna.visualization.plot_parallel_coordinate(_study(kept), target_name="loss")
    # Optuna's colours follow the loss, so that one outlier makes all others look alike; their order tells them apart.
    # Its first axis is the loss, and what is drawn last lies on top.
    lines = sorted((line for line in figure.data if line.mode == "lines"), key=lambda line: -line.y[0])
    for place, line in enumerate(lines, 1):
        line.update(line={"color": ACCENT, "width": 1.2}, opacity=0.15 + 0.65 * (place / len(lines)) ** 2)
    lines[-1].update(line={"color": INK, "width": 2.5}, opacity=1)
    figure.data = lines
    note = "A line is a complete trial: the fainter, the worse. " + _kept(len(kept), len(complete), "complete trials")
    return Chart((_calm(figure, height=340),), note, min_width=120 * len(names))


def _slices(complete: Sequence[FrozenTrial]) -> Chart:
    # Optuna colours points by their place in the study.
    shown = _readable(sorted(complete, key=lambda own: own.number))
    study, losses = _study(shown), [_loss(own) for own in complete]
    figures = []
    for name in _varied(shown):
        figure = optuna.visualization.plot_slice(study, params=[name], target_name="loss")
        figure.data[0].marker.update(colorscale=BLUES, showscale=False)
        # Optuna labels choices as Python writes them, quotes included.
        if figure.layout.xaxis.type == "category":
            labels = figure.layout.xaxis.categoryarray
            figure.update_xaxes(tickvals=labels, ticktext=[label.strip("'") for label in labels])
        figures.append(_calm(figure, losses, height=280))
    if not figures:
        return Chart(note="This needs complete trials with different parameters.")
    return Chart(tuple(figures), "A point is a complete trial: the fainter, the earlier.")


def _timeline(trials: Sequence[FrozenTrial]) -> Chart:
    if not trials:
        return Chart(note="There are no trials.")
    figure = optuna.visualization.plot_timeline(_study(_readable(trials)))
    for bars in figure.data:
        group, colour = STATES[bars.name]
        bars.update(name=group, marker={"color": colour}, hovertemplate=f"%{{text}}<extra>{group}</extra>")
    figure.update_layout(xaxis_title=None, yaxis_title="trial")
    return Chart((_calm(figure, height=min(max(240, 120 + 10 * len(trials)), 700)),))


def _study(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory, so that a chart asks the storage nothing and shows what the others show."""
    study = optuna.create_study()
    study.add_trials(trials)
    return study


def _readable(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials with parameters as the model got them, and nothing else that a chart would spell out."""
    decoded = decoded_values(trials)
    choices = {_own_name(label): CategoricalDistribution(sorted({*codes.values()})) for label, codes in decoded.items()}
    shown = []
    for own in trials:
        shown.append(copy.copy(own))
        shown[-1].params, shown[-1].user_attrs = readable_params(own, decoded), {}
        shown[-1].distributions = {name: {**choices, **own.distributions}[name] for name in shown[-1].params}
    return shown


def _varied(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that had more than one value."""
    seen = {(name, value) for own in trials for name, value in own.params.items()}
    return sorted(name for name, values in Counter(name for name, _ in seen).items() if values > 1)


def _calm(figure: Any, losses: Sequence[float] = (), *, height: int = 380) -> Figure:
    """Return the figure's data without Optuna's title and colours; losses of several magnitudes on a log axis."""
    figure.update_layout(title=None, template=None, width=None, height=height, plot_bgcolor=None)
    if losses and min(losses) > 0 and max(losses) > 30 * min(losses):
        figure.update_yaxes(type="log")
    drawn: Figure = figure.to_plotly_json()
    return drawn


def _kept(shown: int, all_of_them: int, what: str) -> str:
    return f"Drawn are the best {shown} of {all_of_them} {what}." if shown < all_of_them else ""


def _own_name(label: str) -> str:
    return re.sub(r"^(?:log2|rank)\((.+)\)$", r"\1", label)


def is_default(trial: FrozenTrial) -> bool:
    """Return whether the trial is an attempt at the model's own defaults."""
    return bool(trial.user_attrs.get("castpool", {}).get("slot") == 0)


def _loss(trial: FrozenTrial) -> float:
    return trial.value if trial.value is not None and math.isfinite(trial.value) else math.inf
