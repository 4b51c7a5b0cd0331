"""The parts of the report's page: sections, tables, boxes of charts, and how values are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from castpool.workers.reporting.study_charts import Chart


def render_section(title: str, content: str) -> str:
    """Return a section; ``content`` is HTML."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def render_table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[object]]], kind: str = "") -> str:
    """Return a table: its cells are escaped, its columns sort on a click.

    Args:
        head: the titles.
        rows: for each row its class in the style sheet, and its cells.
        kind: the class of the table.
    """
    titles = "".join(f"<th><button>{escape(title)}</button></th>" for title in head)
    lines = []
    for css, cells in rows:
        lines.append(f'<tr class="{css}">{"".join(f"<td>{escape(str(cell))}</td>" for cell in cells)}</tr>\n')
    body = f"<thead><tr>{titles}</tr></thead>\n<tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'


def render_chart(chart: Chart, numbers: Iterable[int]) -> str:
    """Return the boxes of a chart's figures and its note.

    Args:
        chart: to show.
        numbers: the places of its figures among those of the page; as many are taken as the chart has figures.
    """
    style = f'class="chart" style="min-width:{chart.min_width}px"'
    boxes = [f'<div {style} data-figure="{number}"></div>' for _, number in zip(chart.figures, numbers, strict=False)]
    note = f'<p class="dim">{escape(chart.note)}</p>' if chart.note else ""
    return f'{note}<div class="scroll{" grid" * (len(boxes) > 1)}">{"".join(boxes)}</div>'


def format_arguments(values: Mapping[str, Any]) -> str:
    """Return ``name=value, name=value``."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items())


def format_value(value: object) -> str:
    """Return a value, a float with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
