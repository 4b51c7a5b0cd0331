"""The frame of the report: one HTML page that contains its style and script and loads no other file."""

from __future__ import annotations

# The page may load no other file: it is data, inline script and inline style.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { color-scheme: light dark; --ink: #2d3748; --dim: #5f6b7a; --line: #dfe3e9; --paper: #fff; --ground: #f5f6f8;
  --blue: #2f6fb3; --red: #b83232; --green: #2f7d52; --mark: #fdf3e3; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 8px; }
p, ul { margin: 0 0 8px; overflow-wrap: anywhere; }
.dim { color: var(--dim); font-size: .9rem; }
.headline { font-size: 1.15rem; margin: 12px 0 20px; }
.better, .unsure, .worse { font-size: 1.4rem; line-height: 1.35; font-weight: 600; margin: 16px 0; padding-left: 14px;
  border-left: 5px solid var(--dim); }
.better { border-color: var(--green); }
.worse { border-color: var(--red); }
.verdict { display: grid; grid-template-columns: minmax(0, 1fr); gap: 8px 24px; }
@media (min-width: 900px) { .verdict { grid-template-columns: minmax(0, 15fr) minmax(0, 8fr); } }
@media (max-width: 500px) { .better, .unsure, .worse { font-size: 1.15rem; } }
.competitors th, .competitors td { padding-right: 8px; }
.competitors td:first-child { min-width: 9em; }
.competitors td:nth-child(n+2), .members td, .metrics td { white-space: nowrap; }
summary { cursor: pointer; color: var(--dim); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 16px 0; }
.scroll { overflow: auto; max-height: 75vh; margin-bottom: 8px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 8px; }
select { font: inherit; padding: 4px 8px; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 6px; border-bottom: 1px solid var(--line); }
td { overflow-wrap: break-word; max-width: 40em; }
.decisions td:nth-child(2) { overflow-wrap: anywhere; min-width: 9em; }
.decisions td:nth-child(3) { min-width: 12em; }
th { position: sticky; top: 0; background: var(--paper); color: var(--dim); font-weight: 600; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--blue); }
th[aria-sort=ascending]::after { content: " ▲"; } th[aria-sort=descending]::after { content: " ▼"; }
tr.changed td, tr.best td { background: var(--mark); }
.trials td { white-space: nowrap; max-width: none; }
.trials td:nth-child(7) { white-space: normal; min-width: 260px; }
.complete td:nth-child(2) { color: var(--blue); }
.failed td:nth-child(2) { color: var(--red); }
.running td:nth-child(2) { color: var(--green); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde2e9; --dim: #98a3b1; --line: #343a43; --paper: #1a1d21; --ground: #121417; --blue: #7fb2e8;
    --red: #ee8080; --green: #74c69a; --mark: #33291a; }
  .chart { filter: invert(.9) hue-rotate(180deg); }
}
@media print { .scroll { max-height: none; } }
"""

SCRIPT = """
const page = JSON.parse(document.getElementById("data").textContent);
const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]],
  toImageButtonOptions: { format: "svg" } };
// On a touch screen, a drag that begins on a chart must scroll the page.
const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
const draw = (box, data, layout) => Plotly.react(box, data, { ...layout, template: page.template, dragmode }, config);
document.querySelectorAll("[data-figure]").forEach((box) => {
  const figure = page.figures[box.dataset.figure];
  draw(box, figure.data, figure.layout);
});
const forecast = document.getElementById("forecast"), chooser = document.getElementById("series");
const show = () => draw(forecast, page.series[chooser.value], page.layout);
if (forecast) { chooser.addEventListener("change", show); show(); }
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, rows = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const text = (row) => row.cells[head.cellIndex].textContent;
  const order = (a, b) => (text(a) === "") - (text(b) === "")
    || sign * (parseFloat(text(a)) - parseFloat(text(b)) || text(a).localeCompare(text(b)));
  rows.append(...[...rows.rows].sort(order));
}));
"""


def render_page(title: str, body: str, data: str) -> str:
    """Return the page around ``body``.

    All arguments are safe in HTML: ``title`` and ``body`` are escaped, ``data`` is JSON for a script tag.
    """
    from plotly.offline import get_plotlyjs

    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: castpool report</title>
<style>{STYLE}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
<noscript><p>The charts need JavaScript; the tables work without it.</p></noscript>
{body}
</main>
<script type="application/json" id="data">{data}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
