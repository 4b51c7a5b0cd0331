"""The verdict in the report: the first screen, which says how much better the forecast is, than what, and how sure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from castpool.workers.evaluation.verdict import Competitor, Verdict
from castpool.workers.evaluation.verdict_text import EQUAL, format_sentence
from castpool.workers.reporting.gains_chart import describe_gain, format_percent
from castpool.workers.reporting.html_elements import render_chart, render_section, render_table
from castpool.workers.reporting.study_charts import Chart

# The titles of columns and of metrics; a metric that is not here is written in capitals.
TITLES = {"smape": "sMAPE"}
COVERAGE = "coverage_level"


def read_verdict(best: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict in the content of ``best.json``; None where there is none, as in those of older versions."""
    stored = best.get("verdict")
    return None if stored is None else Verdict.from_json(stored)


def explain_absence(best: Mapping[str, Any]) -> str | None:
    """Return why a result has no verdict, in a sentence; None where it has one, or an older castpool wrote it."""
    if "verdict" not in best or best["verdict"] is not None or best.get("value") is None:
        return None
    for decision in best.get("decisions", ()):
        if decision["subject"] == "holdout" and not (decision.get("arguments") or {}).get("holdout"):
            return f"There is no verdict, because there is no holdout: {decision['reason']}."
    return "There is no verdict yet: the result has not been judged on the holdout, which is done after the search."


def headline(verdict: Verdict) -> str:
    """Return the verdict's sentence as a headline: HTML whose class is ``better``, ``unsure`` or ``worse``."""
    sentence = format_sentence(verdict).replace(" %", "\u00a0%")
    return f'<p class="headline {_tone(verdict)}">{escape(sentence[:1].upper() + sentence[1:])}.</p>'


def render_verdict(verdict: Verdict, best: Mapping[str, Any], gains: Chart, numbers: Iterable[int]) -> str:
    """Return the section of the verdict.

    Args:
        verdict: to show.
        best: the content of ``best.json``, with the members.
        gains: its chart.
        numbers: the places of figures among those of the page.
    """
    content = (
        f"<p>{escape(_describe_holdout(verdict))}</p>"
        f'<div class="verdict"><div>{_competitors(verdict)}<p class="dim">{escape(_legend(verdict))}</p></div>'
        f"<div>{render_chart(gains, numbers)}</div></div>{_members(best)}{_metrics(verdict)}"
    )
    return render_section("Verdict", content)


def render_members(best: Mapping[str, Any]) -> str:
    """Return the section of the ensemble's members, for a result without a verdict; nothing where there are none."""
    return render_section("Ensemble", _members(best)) if len(best.get("members") or ()) > 1 else ""


def _tone(verdict: Verdict) -> str:
    kinds = {competitor.name: competitor.kind for competitor in verdict.competitors}
    rivals = [each for each in verdict.comparisons if kinds[each.against] in ("default", "baseline")]
    if any(rival.gain <= -EQUAL for rival in rivals):
        return "worse"
    return "better" if rivals and all(rival.low is not None and rival.low > 0 for rival in rivals) else "unsure"


def _describe_holdout(verdict: Verdict) -> str:
    series = f"each of {verdict.n_series} series" if verdict.n_series != 1 else "the series"
    windows = f"{verdict.n_windows} windows" if verdict.n_windows != 1 else "one window"
    observations = f"the newest {verdict.holdout} observations" if verdict.holdout != 1 else "the newest observation"
    return f"On the holdout, which the search has not seen: {observations} of {series}, in {windows}."


def _legend(verdict: Verdict) -> str:
    """Return what the columns of the table mean, those that it has."""
    has_interval = any(comparison.low is not None for comparison in verdict.comparisons)
    interval = ", with the 95\u00a0% interval" if has_interval else ""
    sentences = [
        f"Gain: how much smaller the error of the {verdict.chosen} is{interval}; "
        "below 0\u00a0% the other forecast is better."
    ]
    if any(name.startswith(COVERAGE) for name in _metric_names(verdict)):
        sentences.append("In N\u00a0%: the part of the observations inside the N\u00a0% interval.")
    if any(each.latency_ms is not None for each in verdict.competitors):
        sentences.append("ms: the time of one forecast of all series.")
    return " ".join(sentences)


def _competitors(verdict: Verdict) -> str:
    """Return the table of the first screen, the delivered one first, the others by their error."""
    ordered, gains = _order(verdict), {comparison.against: comparison for comparison in verdict.comparisons}
    columns = {"forecast": [f"{each.name}{' (delivered)' * (each.name == verdict.chosen)}" for each in ordered]}
    columns[_title(verdict.metric)] = [_number(each.metrics.get(verdict.metric)) for each in ordered]
    columns["gain"] = [describe_gain(gains[each.name]) if each.name in gains else "" for each in ordered]
    for name in _metric_names(verdict):
        if name != verdict.metric and (name in ("mae", "mase") or name.startswith(COVERAGE)):
            columns[_title(name)] = [_number(each.metrics.get(name), name) for each in ordered]
    columns["ms"] = [_number(each.latency_ms) for each in ordered]
    columns["MB"] = [_number(each.model_mb) for each in ordered]
    shown = {title: cells for title, cells in columns.items() if any(cells)}
    rows = [
        ("best" * (each.name == verdict.chosen), [cells[place] for cells in shown.values()])
        for place, each in enumerate(ordered)
    ]
    return render_table(list(shown), rows, "competitors")


def _metrics(verdict: Verdict) -> str:
    """Return the table of all metrics, folded."""
    names = _metric_names(verdict)
    rows = []
    for each in _order(verdict):
        values = [_number(each.metrics.get(name), name, digits=6) for name in names]
        rows.append(("best" * (each.name == verdict.chosen), [each.name, *values, each.description]))
    table = render_table(["forecast", *map(_title, names), "description"], rows, "metrics")
    return f"<details><summary>All metrics on the holdout</summary>{table}</details>"


def _members(best: Mapping[str, Any]) -> str:
    """Return the members with their weights, and how they were chosen."""
    members, selection = list(best.get("members") or ()), best.get("selection")
    chosen = f", chosen {selection}" if selection else ""
    if len(members) == 1:
        return f"<p>{escape(f'Delivered: {_describe_member(members[0], members)}{chosen}.')}</p>"
    if not members:
        return ""
    rows = []
    for member in members:
        loss = _number(member.get("value"), digits=6)
        rows.append(("", [member["name"], format_percent(member["weight"]), _describe_member(member, members), loss]))
    sentence = f"The ensemble averages {len(members)} forecasts{chosen}."
    table = render_table(("member", "weight", "what", "validation loss"), rows, "members")
    return f"<p>{escape(sentence)}</p>{table}"


def _describe_member(member: Mapping[str, Any], members: Iterable[Mapping[str, Any]]) -> str:
    if "trial" not in member:
        return "baseline"
    study = f"{member['study']}, " if len({each.get("study") for each in members} - {None}) > 1 else ""
    return f"{study}{member['model']}, trial {member['trial']}, step {member['step']}"


def _order(verdict: Verdict) -> list[Competitor]:
    def rank(competitor: Competitor) -> tuple[bool, float]:
        return competitor.name != verdict.chosen, competitor.metrics.get(verdict.metric, float("inf"))

    return sorted(verdict.competitors, key=rank)


def _metric_names(verdict: Verdict) -> list[str]:
    """Return the metrics that a competitor has, in their order."""
    return list(dict.fromkeys(name for competitor in verdict.competitors for name in competitor.metrics))


def _title(metric: str) -> str:
    if metric.startswith(COVERAGE):
        return f"in {metric.removeprefix(COVERAGE)} %"
    return TITLES.get(metric, metric.upper())


def _number(value: float | None, metric: str = "", digits: int = 4) -> str:
    """Return a number without an exponent where that is short; a coverage in percent; nothing for None."""
    if value is None:
        return ""
    if metric.startswith(COVERAGE):
        return f"{100 * abs(value):.{max(0, digits - 4)}f} %"
    written = f"{value + 0.0:.{digits}g}"  # never -0
    return f"{value:.0f}" if re.search(r"e\+0[4-9]$", written) else written
