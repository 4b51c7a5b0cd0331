"""The report: one HTML page that tells what a study found and why, and that opens without a network."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import count, cycle
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from workers import plots
from workers.page import page
from workers.plots import Chart, Figure

SHOWN_SERIES = 50
SHOWN_HISTORY = 200
SHOWN_REASONS = 10


def render_report(
    *, study: optuna.Study, best: Mapping[str, Any], history: pd.DataFrame, forecast: pd.DataFrame
) -> str:
    """Return the page of a study: HTML that loads nothing from anywhere.

    ``best`` is what ``best.json`` holds; what it lacks, the page does without. ``history`` has ``unique_id, ds, y``;
    ``forecast`` has ``unique_id, ds`` and the model's columns. The study may have no complete trial, or no trial.
    """
    from plotly.io.json import to_json_plotly

    trials = study.get_trials(deepcopy=False)
    charts = plots.study_charts(trials, best.get("trial"), best.get("default_value"))
    series = _series(history, forecast, int(best.get("horizon") or 1))
    name = escape(str(best.get("study", study.study_name)))
    data = {
        "template": plots.TEMPLATE,
        "figures": [figure for chart in charts for figure in chart.figures],
        "series": list(series.values()),
        "layout": {"height": 400, "hovermode": "x unified", "margin": {"b": 32}},
    }
    numbers = count()
    body = [
        f'<h1>{name}</h1><p class="dim">{escape(_facts(best))}</p>',
        f'<p class="headline">{escape(_headline(best, trials))}</p>',
        _section("Forecast", _forecast(series, forecast)),
        _section("Configuration", _configuration(best, trials)),
        _section("Decisions", _decisions(best)),
        *(_section(chart.title, _chart(chart, numbers)) for chart in charts),
        _section("Trials", _failures(trials) + _trials(trials, best.get("trial"))),
        f'<p class="dim">{escape(_provenance(best))}</p>',
    ]
    return page(name, "".join(body), to_json_plotly(data))


def _facts(best: Mapping[str, Any]) -> str:
    loss, data = best.get("loss"), best.get("data", {})
    if isinstance(loss, Mapping):
        loss = f"{loss.get('name')}({_arguments({name: own for name, own in loss.items() if name != 'name'})})"
    facts = {"model": best.get("model"), "horizon": best.get("horizon"), "loss": loss, **data, "sha256": None}
    return ", ".join(f"{name} {own}" for name, own in facts.items() if own is not None)


def _headline(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    counted = best.get("trials") or Counter(plots.STATES[own.state.name][0] for own in trials)
    total, value, default = sum(counted.values()), best.get("value"), best.get("default_value")
    tally = f"{total} trial{'s' * (total != 1)}"
    if total:
        tally += ": " + ", ".join(f"{number} {outcome}" for outcome, number in counted.items() if number)
    if value is None:
        return f"No trial has completed, so there is no best configuration; {tally}."
    against = ""
    if default == value:
        against = ", the default configuration's own"
    elif default is not None and min(value, default) > 0:
        way = "below" if value < default else "above"
        against = f", {abs(1 - value / default) * 100:.3g} % {way} the default configuration's {default:.5g}"
    elif default is not None:
        against = f", where the default configuration has {default:.5g}"
    return f"Best loss {value:.5g}{against}, after {tally}."


def _series(history: pd.DataFrame, forecast: pd.DataFrame, horizon: int) -> dict[str, list[Figure]]:
    """Return for each series shown the traces of its last history and of its forecast."""
    if forecast.empty:
        return {}
    shown = forecast["unique_id"].drop_duplicates().head(SHOWN_SERIES).tolist()
    recent = history[history["unique_id"].isin(shown)].groupby("unique_id", observed=True)
    past = dict(iter(recent.tail(max(5 * horizon, SHOWN_HISTORY)).groupby("unique_id", observed=True)))
    ahead = dict(iter(forecast[forecast["unique_id"].isin(shown)].groupby("unique_id", observed=True)))
    none = history.head(0)
    return {str(own): [_line("history", past.get(own, none), "y", plots.INK), *_ahead(ahead[own])] for own in shown}


def _ahead(rows: pd.DataFrame) -> list[Figure]:
    """Return a forecast's columns as lines, ``-lo-90`` and ``-hi-90`` as one band behind them, the widest first."""
    columns = [name for name in rows.columns if name not in ("unique_id", "ds")]
    lows = [found for name in columns if (found := re.fullmatch(r"(.+)-lo-([\d.]+)", name))]
    bands = {(own[0], f"{own[1]}-hi-{own[2]}"): own[2] for own in lows if f"{own[1]}-hi-{own[2]}" in columns}
    traces = []
    for pair, level in sorted(bands.items(), key=lambda own: -float(own[1])):
        low, high = (_line(f"{level} % interval", rows, name, plots.ACCENT, width=0.5) for name in pair)
        fill = {"fill": "tonexty", "fillcolor": "rgba(47,111,179,0.16)", "customdata": low["y"]}
        traces.append({**low, "showlegend": False, "hoverinfo": "skip"})
        traces.append({**high, **fill, "hovertemplate": "%{customdata:.6~g} to %{y:.6~g}"})
    alone = [name for name in columns if not any(name in pair for pair in bands)]
    colours = cycle((plots.ACCENT, plots.ORANGE, plots.GREEN))
    return traces + [_line(name, rows, name, colour) for name, colour in zip(alone, colours, strict=False)]


def _line(label: str, rows: pd.DataFrame, column: str, colour: str, width: float = 2) -> Figure:
    stamps = [own.isoformat() if isinstance(own, pd.Timestamp) else own for own in rows["ds"].tolist()]
    values = [float(f"{own:.6g}") if math.isfinite(own) else None for own in rows[column].astype(float).tolist()]
    style = {"mode": "lines" if len(stamps) > 1 else "markers", "line": {"color": colour, "width": width}}
    # plotly reads some HTML in names; escaped, it shows them as they are.
    return {"type": "scatter", "name": escape(label), "x": stamps, "y": values, **style, "marker": {"color": colour}}


def _forecast(series: Mapping[str, object], forecast: pd.DataFrame) -> str:
    if not series:
        return "<p>There is no forecast.</p>"
    left_out = forecast["unique_id"].nunique() - len(series)
    more = f" The first {len(series)} series are here; {left_out} more have a forecast too." if left_out else ""
    options = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(series))
    chooser = f'<label>Series <select id="series">{options}</select></label><span class="dim">{more}</span>'
    return f'<p>{chooser}</p><div class="chart" id="forecast"></div>'


def _configuration(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    config = best.get("config") or best.get("params") or {}
    if not config:
        return "<p>No trial has completed, so none is the best.</p>"
    default = next((own for own in reversed(trials) if plots.is_default(own) and own.user_attrs.get("config")), None)
    usual = default.user_attrs["config"] if default else config
    names = sorted({**config, **usual}, key=lambda name: (config.get(name) == usual.get(name), name))
    rows = []
    for name in names:
        mark = "changed" * (config.get(name) != usual.get(name))
        rows.append((mark, [name, *(_text(own[name]) if name in own else "" for own in (config, usual)), mark]))
    said = f"Trial {best.get('trial')} is the best, trained to step {best.get('step')}."
    if default is None:
        return f"<p>{escape(said)}</p>" + _table(("argument", "best"), [(css, cells[:2]) for css, cells in rows])
    said += f" {sum(bool(css) for css, _ in rows)} of {len(rows)} arguments differ from the defaults."
    return f"<p>{escape(said)}</p>" + _table(("argument", "best", f"defaults (trial {default.number})", ""), rows)


def _decisions(best: Mapping[str, Any]) -> str:
    rows = []
    for own in best.get("decisions", ()):
        arguments = f"({_arguments(own['arguments'])})" if own.get("arguments") else ""
        rows.append(("", [own["subject"], f"{own['choice']}{arguments}", own["reason"]]))
    notes = "".join(f"<li>{escape(str(own))}</li>" for own in best.get("notes", ()))
    table = _table(("what", "choice", "because"), rows, "decisions") if rows else "<p>None are recorded.</p>"
    return table + (f'<p class="dim">Of the data:</p><ul class="dim">{notes}</ul>' if notes else "")


def _chart(chart: Chart, numbers: Iterable[int]) -> str:
    style = f'class="chart" style="min-width:{chart.min_width}px"'
    boxes = [f'<div {style} data-figure="{number}"></div>' for _, number in zip(chart.figures, numbers, strict=False)]
    note = f'<p class="dim">{escape(chart.note)}</p>' if chart.note else ""
    return f'{note}<div class="scroll{" grid" * (len(boxes) > 1)}">{"".join(boxes)}</div>'


def _failures(trials: Sequence[FrozenTrial]) -> str:
    """Return why trials failed, the most frequent reason first, so that it need not be looked for."""
    numbers = defaultdict(list)
    for own in trials:
        if own.state.name == "FAIL":
            numbers[own.user_attrs.get("reason", "no reason was recorded")].append(str(own.number))
    items = []
    for reason, those in sorted(numbers.items(), key=lambda item: -len(item[1]))[:SHOWN_REASONS]:
        some = ", ".join(those[:SHOWN_REASONS]) + ", ..." * (len(those) > SHOWN_REASONS)
        items.append(f"<li>{len(those)} failed: {escape(str(reason))} (trial{'s' * (len(those) > 1)} {some})</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _trials(trials: Sequence[FrozenTrial], best: int | None) -> str:
    rows, decoded = [], plots.decoded_values(trials)
    for own in trials:
        state, note, attrs = plots.STATES[own.state.name][0], own.user_attrs.get("castpool", {}), own.user_attrs
        marks = ["best"] * (own.number == best) + ["defaults"] * plots.is_default(own)
        number = f"{own.number} ({', '.join(marks)})" if marks else own.number
        seconds, parameters = attrs.get("training_seconds"), _arguments(plots.readable_params(own, decoded))
        again = f"retry of trial {note['retry_of']}" if note.get("retry_of") is not None else None
        less = attrs.get("for_want_of_memory")
        halved = f"for want of memory with {_arguments(less)}" if less else None
        reason = "; ".join(str(words) for words in (attrs.get("reason"), again, halved) if words)
        cells = [number, state, note.get("worker"), own.last_step, own.value, seconds, reason, parameters]
        rows.append((f"{state}{' best' * (own.number == best)}", ["" if c is None else _text(c) for c in cells]))
    head = ("trial", "state", "worker", "step", "loss", "seconds", "reason", "parameters")
    return _table(head, rows, "trials")


def _provenance(best: Mapping[str, Any]) -> str:
    words = [f"{name} {own}" for name, own in best.get("versions", {}).items()]
    sha256 = best.get("data", {}).get("sha256")
    return "Made with " + ", ".join(words) + (f"; data SHA-256 {sha256}" if sha256 else "") + "." if words else ""


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[object]]], kind: str = "") -> str:
    """Return a table: its cells are escaped, its columns sort on a click."""
    titles = "".join(f"<th><button>{escape(own)}</button></th>" for own in head)
    lines = []
    for css, cells in rows:
        lines.append(f'<tr class="{css}">{"".join(f"<td>{escape(str(own))}</td>" for own in cells)}</tr>\n')
    body = f"<thead><tr>{titles}</tr></thead>\n<tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(own)}" for name, own in values.items())


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
