"""The words of a verdict: one plain sentence, and a table for a terminal of 80 columns."""

from __future__ import annotations

import math

from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict

# Differences below half a percent are written as equal.
EQUAL = 0.005
_NAME_WIDTH, _TABLE_WIDTH = 21, 80


def format_sentence(verdict: Verdict) -> str:
    """Return the verdict in one sentence, without the full stop.

    It names the baseline that is hardest to beat, and the default configuration. Where one of them is better than the
    chosen forecast, the sentence is about the best of those. With too few windows for an interval it says so. Where the
    single best configuration beats the ensemble, it says that too: the members were chosen before the holdout was seen.
    """
    rivals = _find_rivals(verdict)
    if not rivals:
        return "nothing to compare with: neither the default configuration nor a baseline was judged"
    doubt = "" if rivals[0].low is not None else f"; {_describe_doubt(verdict)}"
    hardest = min(rivals, key=lambda comparison: comparison.gain)
    if hardest.gain <= -EQUAL:
        better = hardest.reverse()
        percent = f"{_name(verdict, better.against)} is better on this data by {_percent(better.gain)} %"
        return f"{percent}{_interval(better, is_first=True)}: use it, or search longer{doubt}"
    parts = [_compare(verdict, comparison, is_first=number == 0) for number, comparison in enumerate(rivals)]
    return f"{', '.join(parts)}{_describe_single(verdict)}{doubt}"


def format_table(verdict: Verdict) -> str:
    """Return the competitors as a table of at most 80 columns, the chosen one first and the others by their error.

    ``gain`` is how much better the chosen forecast is. Coverage is that of the widest interval. Latency and size are
    shown where they were measured: of the ensemble and the single winner.
    """
    chosen = verdict.find(verdict.chosen)
    others = sorted(
        (each for each in verdict.competitors if each.name != verdict.chosen),
        key=lambda each: each.metrics.get(verdict.metric, float("inf")),
    )
    ordered, gains = [chosen, *others], {each.against: each for each in verdict.comparisons}
    columns = {"": [shorten(each.name, _NAME_WIDTH) for each in ordered]}
    columns[verdict.metric.upper()] = [format_significant(each.metrics.get(verdict.metric)) for each in ordered]
    columns["gain"] = [f"{_percent(gains[each.name].gain)} %" if each.name in gains else "" for each in ordered]
    columns["95 %"] = [_ends(gains.get(each.name)) for each in ordered]
    if verdict.metric != "mase" and any("mase" in each.metrics for each in ordered):
        columns["MASE"] = [format_significant(each.metrics.get("mase")) for each in ordered]
    if level := _widest_level(ordered):
        covered = [each.metrics.get(f"coverage_level{level}") for each in ordered]
        columns[f"in {level} %"] = ["" if value is None else f"{_percent(value)} %" for value in covered]
    if any(each.latency_ms is not None for each in ordered):
        columns["ms"] = [format_significant(each.latency_ms) for each in ordered]
    if any(each.model_mb is not None for each in ordered):
        columns["MB"] = [format_significant(each.model_mb) for each in ordered]
    return _align(columns)


def _find_rivals(verdict: Verdict) -> list[Comparison]:
    """Return the comparisons of the sentence: the hardest baseline, and the default configuration."""
    kinds = {competitor.name: competitor.kind for competitor in verdict.competitors}
    baselines = [comparison for comparison in verdict.comparisons if kinds[comparison.against] == "baseline"]
    defaults = [comparison for comparison in verdict.comparisons if kinds[comparison.against] == "default"]
    return [*sorted(baselines, key=lambda comparison: comparison.gain)[:1], *defaults[:1]]


def _describe_single(verdict: Verdict) -> str:
    single = next((each.name for each in verdict.competitors if each.kind == "winner"), None)
    against = next((each for each in verdict.comparisons if each.against == single), None)
    if against is None or against.gain > -EQUAL:
        return ""
    better = against.reverse()
    return f"; the {single} alone is better here by {_percent(better.gain)} %{_interval(better, is_first=False)}"


def _compare(verdict: Verdict, comparison: Comparison, *, is_first: bool) -> str:
    name = _name(verdict, comparison.against)
    if abs(comparison.gain) < EQUAL:
        return f"equal to {name}{_interval(comparison, is_first=is_first)}"
    return f"better than {name} by {_percent(comparison.gain)} %{_interval(comparison, is_first=is_first)}"


def _name(verdict: Verdict, name: str) -> str:
    return f"the {name}" if verdict.find(name).kind == "default" and not name.startswith("the ") else name


def _interval(comparison: Comparison, *, is_first: bool) -> str:
    if comparison.low is None or comparison.high is None:
        return ""
    ends = f"{_percent(comparison.low)} to {_percent(comparison.high)}"
    certain = "" if comparison.is_certain or abs(comparison.gain) < EQUAL else ": not certain"
    return f" ({'95 % interval ' if is_first else ''}{ends}{certain})"


def _describe_doubt(verdict: Verdict) -> str:
    windows = "one window" if verdict.n_windows == 1 else f"{verdict.n_windows} windows"
    series = "one series" if verdict.n_series == 1 else f"each of {verdict.n_series} series"
    return f"{windows} of {series}: how sure this is cannot be said"


def _ends(comparison: Comparison | None) -> str:
    if comparison is None or comparison.low is None or comparison.high is None:
        return ""
    return f"{_percent(comparison.low)} to {_percent(comparison.high)}"


def _percent(value: float) -> str:
    """Return a share in whole percent; never ``-0``."""
    return str(round(100 * value) or 0)


def format_significant(value: float | None) -> str:
    """Return a number with three digits; nothing for what is no finite number."""
    if value is None or not math.isfinite(value):
        return ""
    value = value or 0.0  # never -0
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" if abs(value) < 1e6 else f"{value:.1e}"


def shorten(name: str, width: int) -> str:
    """Return a name of at most so many letters."""
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _widest_level(competitors: list[Competitor]) -> str:
    names = {name for each in competitors for name in each.metrics if name.startswith("coverage_level")}
    return max((name.removeprefix("coverage_level") for name in names), key=float, default="")


def _align(columns: dict[str, list[str]]) -> str:
    """Return the columns as lines: the first one to the left, numbers to the right."""
    widths = {title: max(len(cell) for cell in [title, *cells]) for title, cells in columns.items()}
    widths[""] = min(widths[""], _TABLE_WIDTH - sum(2 + width for title, width in widths.items() if title))
    columns[""] = [shorten(name, widths[""]) for name in columns[""]]
    lines = []
    for row in [list(columns), *map(list, zip(*columns.values(), strict=True))]:
        cells = [cell.rjust(widths[title]) for title, cell in zip(columns, row, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[""]), *cells[1:]]).rstrip())
    return "\n".join(lines)
