"""The report: one HTML page that tells what a study found and why, and that opens without a network."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from workers.plots import ACCENT, GREEN, INK, ORANGE, STATES, TEMPLATE, Chart, Figure, readable_params, study_charts

SHOWN_SERIES = 50
SHOWN_HISTORY = 200
SHOWN_REASONS = 10

# Nothing may be loaded from anywhere: the page is data, inline script and inline style.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { color-scheme: light dark; --ink: #2d3748; --dim: #5f6b7a; --line: #dfe3e9; --paper: #fff; --ground: #f5f6f8;
  --blue: #2f6fb3; --red: #b83232; --green: #2f7d52; --mark: #fdf3e3; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 8px; }
p, ul { margin: 0 0 8px; }
.dim, footer { color: var(--dim); font-size: .9rem; }
.headline { font-size: 1.15rem; margin: 12px 0 20px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 0 0 16px; }
.scroll { overflow: auto; max-height: 75vh; }
.charts { overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 8px; }
select { font: inherit; padding: 4px 8px; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: var(--paper); color: var(--dim); font-weight: 600; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--blue); }
tr.changed td { background: var(--mark); }
.trials td { white-space: nowrap; }
.trials td:nth-child(n+7) { white-space: normal; min-width: 260px; }
tr.complete td:nth-child(2) { color: var(--blue); }
tr.failed td:nth-child(2) { color: var(--red); }
tr.running td:nth-child(2) { color: var(--green); }
tr.best td { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde2e9; --dim: #98a3b1; --line: #343a43; --paper: #1a1d21; --ground: #121417; --blue: #7fb2e8;
    --red: #ee8080; --green: #74c69a; --mark: #33291a; }
  .chart { filter: invert(.9) hue-rotate(180deg); }
}
@media print { .scroll { max-height: none; } section { break-inside: avoid; } }
"""

SCRIPT = """
const page = JSON.parse(document.getElementById("data").textContent);
const config = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" },
  modeBarButtonsToRemove: ["lasso2d", "select2d"] };
// A finger that meets a chart must still be able to scroll the page.
const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
const draw = (box, data, layout) => Plotly.react(box, data, { ...layout, template: page.template, dragmode }, config);
document.querySelectorAll("[data-figure]").forEach((box) => {
  const figure = page.figures[box.dataset.figure];
  draw(box, figure.data, figure.layout);
});
const forecast = document.getElementById("forecast"), chooser = document.getElementById("series");
const show = () => draw(forecast, page.series[chooser.value], page.layout);
if (forecast) { chooser.addEventListener("change", show); show(); }
document.querySelectorAll(".trials th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, column = head.cellIndex, body = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  head.parentElement.querySelectorAll("th").forEach((own) => own.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent, empty = (row) => text(row) === "" ? 1 : 0;
  const order = (a, b) => empty(a) - empty(b)
    || sign * ((parseFloat(text(a)) - parseFloat(text(b))) || text(a).localeCompare(text(b)));
  body.append(...[...body.rows].sort(order));
}));
"""


def render_report(
    *, study: optuna.Study, best: Mapping[str, Any], history: pd.DataFrame, forecast: pd.DataFrame
) -> str:
    """Return the page of a study as HTML that loads nothing from anywhere.

    ``best`` is what ``best.json`` holds; what it lacks, the page does without. ``history`` has ``unique_id, ds, y``,
    ``forecast`` has ``unique_id, ds`` and the model's columns. No trial need have completed.
    """
    from plotly.io.json import to_json_plotly
    from plotly.offline import get_plotlyjs

    trials = study.get_trials(deepcopy=False)
    charts = study_charts(trials, best.get("trial"), best.get("default_value"))
    name = str(best.get("study", study.study_name))
    series = _series(history, forecast, int(best.get("horizon") or 1))
    data = {
        "template": TEMPLATE,
        "figures": [figure for chart in charts for figure in chart.figures],
        "series": [traces for _, traces in series],
        "layout": {"height": 420, "hovermode": "x unified"},
    }
    body = [
        f"<header><h1>{escape(name)}</h1>{_subtitle(best)}<p class=headline>{escape(headline(best, trials))}</p></header>",
        _forecast_section([own for own, _ in series], forecast),
        _configuration_section(best, trials),
        _decisions_section(best),
        *_chart_sections(charts),
        _trials_section(best, trials),
        _footer(best),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}: castpool report</title>
<style>{STYLE}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
{"".join(body)}
</main>
<script type="application/json" id="data">{to_json_plotly(data)}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _headline(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    counted = best.get("trials") or Counter(STATES[own.state.name][0] for own in trials)
    total = sum(counted.values())
    tally = f"{total} trial{'s' * (total != 1)}: " + ", ".join(f"{n} {outcome}" for outcome, n in counted.items() if n)
    value, default = best.get("value"), best.get("default_value")
    if value is None:
        return f"No trial completed, so there is no best configuration yet. {tally if total else 'No trial has begun'}."
    if default is None:
        return f"Best loss {value:.5g}, after {tally}."
    if best.get("value") == default:
        against = "the default configuration's own"
    elif value > 0 and default > 0:
        change = 100 * (value / default - 1)
        against = f"{abs(change):.3g} % {'above' if change > 0 else 'below'} the default configuration's {default:.5g}"
    else:
        against = f"and {default:.5g} with the default configuration"
    return f"Best loss {value:.5g}, {against}, after {tally}."


def _subtitle(best: Mapping[str, Any]) -> str:
    loss, data = best.get("loss"), best.get("data", {})
    if isinstance(loss, Mapping):
        loss = f"{loss.get('name')}({_arguments({key: own for key, own in loss.items() if key != 'name'})})"
    facts = {"model": best.get("model"), "horizon": best.get("horizon"), "loss": loss, **data, "sha256": None}
    words = ", ".join(f"{name} {_text(own)}" for name, own in facts.items() if own is not None)
    return f'<p class="dim">{escape(words)}</p>'


def _series(history: pd.DataFrame, forecast: pd.DataFrame, horizon: int) -> list[tuple[str, list[Figure]]]:
    """Return the series to choose from: their names, the traces of their last history and their forecast."""
    shown = forecast["unique_id"].drop_duplicates().head(SHOWN_SERIES) if len(forecast) else ()
    ahead = forecast[forecast["unique_id"].isin(shown)]
    recent = history[history["unique_id"].isin(shown)].groupby("unique_id", observed=True)
    recent = recent.tail(max(5 * horizon, SHOWN_HISTORY))
    drawn = []
    for name in shown:
        past = recent[recent["unique_id"] == name]
        drawn.append((str(name), [_line("history", past, "y", INK), *_ahead(ahead[ahead["unique_id"] == name])]))
    return drawn


def _ahead(rows: pd.DataFrame) -> list[Figure]:
    """Return the traces of a forecast: columns as lines, ``-lo-90`` and ``-hi-90`` as one band, the widest first."""
    columns = [name for name in rows.columns if name not in ("unique_id", "ds")]
    lows = [found for name in columns if (found := re.fullmatch(r"(.+)-lo-([\d.]+)", name))]
    bands = [(found[0], f"{found[1]}-hi-{found[2]}", found[2]) for found in lows]
    bands = sorted((own for own in bands if own[1] in columns), key=lambda own: -float(own[2]))
    traces = []
    for lower, upper, level in bands:
        low, high = (_line(f"{level} % interval", rows, name, ACCENT, width=0.5) for name in (lower, upper))
        fill = {"fill": "tonexty", "fillcolor": "rgba(47,111,179,0.16)", "customdata": low["y"]}
        traces.append({**low, "showlegend": False, "hoverinfo": "skip"})
        traces.append({**high, **fill, "hovertemplate": "%{customdata:.6~g} to %{y:.6~g}"})
    lines = [name for name in columns if not any(name in own for own in bands)]
    return traces + [_line(name, rows, name, colour) for name, colour in zip(lines, cycle((ACCENT, ORANGE, GREEN)))]


def _line(label: str, rows: pd.DataFrame, column: str, colour: str, width: float = 2) -> Figure:
    stamps = [own.isoformat() if isinstance(own, pd.Timestamp) else own for own in rows["ds"].tolist()]
    values = [float(f"{own:.6g}") if math.isfinite(own) else None for own in rows[column].astype(float).tolist()]
    style = {"mode": "lines" if len(stamps) > 1 else "markers", "line": {"color": colour, "width": width}}
    # plotly reads some HTML in names: escaped, it shows them as they are.
    return {"type": "scatter", "name": escape(label), "x": stamps, "y": values, **style, "marker": {"color": colour}}


def _forecast_section(names: Sequence[str], forecast: pd.DataFrame) -> str:
    if not names:
        return "<section><h2>Forecast</h2><p>There is no forecast.</p></section>"
    left_out = forecast["unique_id"].nunique() - len(names)
    more = f" The first {len(names)} series are shown; {left_out} more are in the forecast." if left_out else ""
    options = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(names))
    return (
        f'<section><h2>Forecast</h2><p><label>Series <select id="series">{options}</select></label>'
        f'<span class="dim">{more}</span></p><div class="chart" id="forecast"></div></section>'
    )


def _configuration_section(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    config = best.get("config") or best.get("params") or {}
    defaults = [own for own in trials if is_default(own) and own.user_attrs.get("config")]
    usual = defaults[-1].user_attrs["config"] if defaults else {}
    changed = {name for name in {**config, **usual} if usual and config.get(name) != usual.get(name)}
    if not config:
        return "<section><h2>Configuration</h2><p>No trial completed, so none is the best.</p></section>"
    head = ["argument", f"best (trial {best.get('trial')})"]
    said = f"Trained to step {best['step']}. " if best.get("step") else ""
    if usual:
        head += [f"defaults (trial {defaults[-1].number})", ""]
        said += f"{len(changed)} of {len(config)} arguments differ from the defaults."
    else:
        said += "The defaults were not trained, so there is nothing to compare with."
    rows = []
    for name in sorted({**config, **usual}, key=lambda own: (own not in changed, own)):
        cells = [name, *(_text(own[name]) if name in own else "" for own in (config, usual))]
        rows.append(("changed" * (name in changed), [*cells, "changed" * (name in changed)][: len(head)]))
    return f"<section><h2>Configuration</h2><p>{escape(said)}</p>{_table(head, rows)}</section>"


def _decisions_section(best: Mapping[str, Any]) -> str:
    rows = []
    for own in best.get("decisions", ()):
        arguments = _arguments(own.get("arguments") or {})
        rows.append(("", [own["subject"], f"{own['choice']}({arguments})" if arguments else own["choice"], own["reason"]]))
    table = _table(["what", "choice", "because"], rows) if rows else "<p>None are recorded.</p>"
    notes = "".join(f"<li>{escape(str(own))}</li>" for own in best.get("notes", ()))
    return f"<section><h2>Decisions</h2>{table}{f'<h2>Notes on the data</h2><ul>{notes}</ul>' if notes else ''}</section>"


def _chart_sections(charts: Iterable[Chart]) -> Iterator[str]:
    numbers = count()
    for chart in charts:
        style = f' style="min-width:{chart.min_width}px"' if chart.min_width else ""
        boxes = "".join(f'<div class="chart" data-figure="{next(numbers)}"{style}></div>' for _ in chart.figures)
        note = f'<p class="dim">{escape(chart.note)}</p>' if chart.note else ""
        kind = "charts grid" if len(chart.figures) > 1 else "charts"
        yield f'<section><h2>{escape(chart.title)}</h2>{note}<div class="{kind}">{boxes}</div></section>'


def _trials_section(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    reasons = defaultdict(list)
    rows = []
    for own in trials:
        state, note = STATES[own.state.name][0], own.user_attrs.get("castpool", {})
        reason = own.user_attrs.get("reason", "no reason was recorded" if state == "failed" else "")
        if state == "failed":
            reasons[reason].append(own.number)
        if note.get("retry_of") is not None:
            reason = f"{reason}{'; ' if reason else ''}retry of trial {note['retry_of']}"
        marks = " (best)" * (own.number == best.get("trial")) + " (defaults)" * is_default(own)
        parameters = _arguments(readable_params(own))
        cells = [f"{own.number}{marks}", state, note.get("worker"), own.last_step, own.value]
        cells += [own.user_attrs.get("training_seconds"), parameters, reason]
        rows.append((f"{state}{' best' * (own.number == best.get('trial'))}", ["" if c is None else _text(c) for c in cells]))
