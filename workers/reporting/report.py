"""The report: one HTML page with the findings and decisions of a study, which opens without a network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from itertools import count
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from castpool import attributes
from castpool.sampler_policies.spaces.space import Space
from castpool.storage.budget.default_slot import is_default
from castpool.workers.reporting import study_charts
from castpool.workers.reporting.forecast_section import draw_series, render_forecast
from castpool.workers.reporting.gains_chart import draw_gains
from castpool.workers.reporting.html_elements import (
    format_arguments,
    format_value,
    render_chart,
    render_section,
    render_table,
)
from castpool.workers.reporting.report_page import render_page
from castpool.workers.reporting.trial_parameters import decode_params
from castpool.workers.reporting.verdict_section import (
    explain_absence,
    headline,
    read_verdict,
    render_members,
    render_verdict,
)

SHOWN_REASONS = 10


def render_report(
    *, study: optuna.Study, space: Space | None, best: Mapping[str, Any], history: pd.DataFrame, forecast: pd.DataFrame
) -> str:
    """Return the page of a study: HTML that loads no other file.

    Args:
        study: may have no complete trial, or no trial.
        space: decodes the parameters; None where a function is the search space.
        best: the content of ``best.json``; the page omits what it lacks.
        history: ``unique_id``, ``ds``, ``y``.
        forecast: ``unique_id``, ``ds`` and the model's columns.
    """
    from plotly.io.json import to_json_plotly

    trials = study.get_trials(deepcopy=False)
    charts = study_charts.draw_charts(trials, space, best.get("trial"), best.get("default_value"))
    series = draw_series(history, forecast, int(best.get("horizon") or 1))
    verdict, loss = read_verdict(best), f"<p>{escape(_describe_loss(best, trials))}</p>"
    gains = draw_gains(verdict) if verdict is not None else study_charts.Chart()
    name = escape(str(best.get("study", study.study_name)))
    data = {
        "template": study_charts.TEMPLATE,
        "figures": [figure for chart in (gains, *charts) for figure in chart.figures],
        "series": list(series.values()),
        "layout": {"height": 400, "hovermode": "x unified", "margin": {"b": 32}},
    }
    numbers = count()
    if verdict is not None:
        first = [headline(verdict), render_verdict(verdict, best, gains, numbers)]
    else:
        why = explain_absence(best)
        absence = f'<p class="dim">{escape(why)}</p>' if why else ""
        first = [loss.replace("<p>", '<p class="headline">', 1), absence, render_members(best)]
    body = [
        f'<h1>{name}</h1><p class="dim">{escape(_facts(best))}</p>',
        *first,
        render_section("Forecast", render_forecast(series, forecast)),
        render_section("Configuration", loss * (verdict is not None) + _configuration(best, trials)),
        render_section("Decisions", _decisions(best)),
        *(render_section(chart.title, render_chart(chart, numbers)) for chart in charts),
        render_section("Trials", _failures(trials) + _trials(trials, space, best.get("trial"))),
        f'<p class="dim">{escape(_provenance(best))}</p>',
    ]
    return render_page(name, "".join(body), to_json_plotly(data))


def _facts(best: Mapping[str, Any]) -> str:
    loss, data = best.get("loss"), best.get("data", {})
    if isinstance(loss, Mapping):
        loss = f"{loss.get('name')}({format_arguments({key: value for key, value in loss.items() if key != 'name'})})"
    facts = {"model": best.get("model"), "horizon": best.get("horizon"), "loss": loss, **data, "sha256": None}
    return ", ".join(f"{name} {fact}" for name, fact in facts.items() if fact is not None)


def _describe_loss(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    outcomes = best.get("trials") or Counter(study_charts.STATES[trial.state.name][0] for trial in trials)
    total, value, default = sum(outcomes.values()), best.get("value"), best.get("default_value")
    tally = f"{total} trial{'s' * (total != 1)}"
    if total:
        tally += ": " + ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items() if number)
    if value is None:
        return f"No trial has completed, so there is no best configuration; {tally}."
    against = ""
    if default == value:
        against = ", equal to the default configuration's"
    elif default is not None and min(value, default) > 0:
        side = "below" if value < default else "above"
        against = f", {abs(1 - value / default) * 100:.3g} % {side} the default configuration's {default:.5g}"
    elif default is not None:
        against = f", against {default:.5g} of the default configuration"
    return f"Best loss {value:.5g}{against}, after {tally}."


def _configuration(best: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    config = best.get("config") or best.get("params") or {}
    if not config:
        return "<p>No trial has completed, so there is no best configuration.</p>"
    default = next(
        (trial for trial in reversed(trials) if is_default(trial) and trial.user_attrs.get(attributes.CONFIG)), None
    )
    usual = default.user_attrs[attributes.CONFIG] if default else config
    names = sorted({**config, **usual}, key=lambda name: (config.get(name) == usual.get(name), name))
    rows = []
    for name in names:
        mark = "changed" * (config.get(name) != usual.get(name))
        values = [format_value(given[name]) if name in given else "" for given in (config, usual)]
        rows.append((mark, [name, *values, mark]))
    summary = f"Trial {best.get('trial')} is the best, trained to step {best.get('step')}."
    if default is None:
        return f"<p>{escape(summary)}</p>" + render_table(
            ("argument", "best"), [(css, cells[:2]) for css, cells in rows]
        )
    summary += f" {sum(bool(css) for css, _ in rows)} of {len(rows)} arguments differ from the defaults."
    return f"<p>{escape(summary)}</p>" + render_table(
        ("argument", "best", f"defaults (trial {default.number})", ""), rows
    )


def _decisions(best: Mapping[str, Any]) -> str:
    rows = []
    for decision in best.get("decisions", ()):
        arguments = f"({format_arguments(decision['arguments'])})" if decision.get("arguments") else ""
        rows.append(("", [decision["subject"], f"{decision['choice']}{arguments}", decision["reason"]]))
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in best.get("notes", ()))
    table = (
        render_table(("subject", "choice", "reason"), rows, "decisions")
        if rows
        else "<p>No decisions are recorded.</p>"
    )
    return table + (f'<p class="dim">Notes on the data:</p><ul class="dim">{notes}</ul>' if notes else "")


def _failures(trials: Sequence[FrozenTrial]) -> str:
    """Return why trials failed, the most frequent reason first."""
    numbers = defaultdict(list)
    for trial in trials:
        if trial.state.name == "FAIL":
            numbers[trial.user_attrs.get(attributes.REASON, "no reason was recorded")].append(str(trial.number))
    items = []
    for reason, failed in sorted(numbers.items(), key=lambda item: -len(item[1]))[:SHOWN_REASONS]:
        shown = ", ".join(failed[:SHOWN_REASONS]) + ", ..." * (len(failed) > SHOWN_REASONS)
        items.append(f"<li>{len(failed)} failed: {escape(str(reason))} (trial{'s' * (len(failed) > 1)} {shown})</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _trials(trials: Sequence[FrozenTrial], space: Space | None, best: int | None) -> str:
    rows = []
    for trial in trials:
        attrs, is_best = trial.user_attrs, trial.number == best
        state, work = study_charts.STATES[trial.state.name][0], attrs.get(attributes.ATTEMPT, {})
        marks = ["best"] * is_best + ["defaults"] * is_default(trial)
        number = f"{trial.number} ({', '.join(marks)})" if marks else trial.number
        retry = f"retry of trial {work['retry_of']}" if work.get("retry_of") is not None else None
        smaller = attributes.read_reduced_for_memory(attrs)
        reduced = f"reduced after out of memory: {format_arguments(smaller)}" if smaller else None
        reason = "; ".join(str(part) for part in (attrs.get(attributes.REASON), retry, reduced) if part)
        seconds, parameters = attrs.get(attributes.TRAINING_SECONDS), format_arguments(decode_params(trial, space))
        cells = [number, state, work.get("worker"), trial.last_step, trial.value, seconds, reason, parameters]
        rows.append((f"{state}{' best' * is_best}", ["" if cell is None else format_value(cell) for cell in cells]))
    head = ("trial", "state", "worker", "step", "loss", "seconds", "reason", "parameters")
    return render_table(head, rows, "trials")


def _provenance(best: Mapping[str, Any]) -> str:
    words = [f"{name} {version}" for name, version in best.get("versions", {}).items()]
    sha256 = best.get("data", {}).get("sha256")
    return "Made with " + ", ".join(words) + (f"; data SHA-256 {sha256}" if sha256 else "") + "." if words else ""
