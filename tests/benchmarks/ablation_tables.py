"""The tables of the ablation: the effect of each optimization, repeated runs, and final losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

from castpool.sampler_policies.optimizations import OPTIMIZATIONS
from tests.benchmarks.time_to_loss.records import Record
from tests.benchmarks.time_to_loss.table import geometric_mean, loss_ratio, time_ratio, was_reached

ALL, NONE = "all optimizations", "no optimization"
# What can be disabled, by `--disable` or by an option of its own.
SWITCHED = (*OPTIMIZATIONS, "sampler", "pruner", "frequent-checks")
# Parts of the pruner, which cannot be enabled alone.
PARTS = ("demotion",)
MISSING = "- | - | - | -"

# The records of one table, by pair, seed and variant.
Records = Mapping[tuple[str, int, str], Record]


def effect_cells(records: Records, variant: str) -> str:
    """Return a variant's cells: time, reached, loss and steps, as geometric means over pairs and seeds.

    The time is that to the final loss of castpool without optimizations, divided by the latter's own time. Loss and
    steps are those at the end, divided by those with all optimizations.
    """
    times, losses, steps, reached = [], [], [], []
    for pair, seed in sorted({key[:2] for key in records}):
        one, none, whole = (records.get((pair, seed, name)) for name in (variant, NONE, ALL))
        if one is not None and none is not None and whole is not None:
            times.append(time_ratio(one, none))
            losses.append(loss_ratio(one, whole))
            steps.append(one.steps / max(whole.steps, 1))
            reached.append(was_reached(one, none))
    if not times:
        return MISSING
    # A variant without a finished trial has a time, which is the whole budget, but neither loss nor steps.
    is_finished = any(map(math.isfinite, losses))
    loss, ratio = (f"{geometric_mean(losses):.3f}", f"{geometric_mean(steps):.2f}") if is_finished else ("-", "-")
    return f"{geometric_mean(times):.2f} | {sum(reached)} of {len(reached)} | {loss} | {ratio}"


def effect_table(by_table: Mapping[str, Records]) -> str:
    """Return the effect of each optimization. The first table has the runs without one, the last those with one alone.

    Only the first two tables are read.
    """
    first, *others = by_table.values()
    alone = others[0] if others and any(key[2].endswith(" alone") for key in others[0]) else first
    lines = [
        "| optimization | without it: time | reached | loss | steps | alone: time | reached | loss | steps |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| ({ALL}; {NONE}) | {effect_cells(first, ALL)} | {effect_cells(alone, NONE)} |",
    ]
    for name in (*SWITCHED, *PARTS):
        cells = effect_cells(first, f"without {name}"), effect_cells(alone, f"{name} alone")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def repeat_table(by_table: Mapping[str, Records]) -> str:
    """Return the loss without each optimization in every table that measured it, and the geometric mean."""
    rows = []
    for name in (*SWITCHED, *PARTS):
        losses = []
        for records in by_table.values():
            pairs = [(records.get((*key[:2], ALL)), one) for key, one in records.items() if key[2] == f"without {name}"]
            if pairs:
                losses.append(geometric_mean(loss_ratio(one, whole) for whole, one in pairs if whole is not None))
        if losses:
            rows.append((geometric_mean(losses), name, losses))
    lines = ["| without | loss in each table | geometric mean |", "| --- | --- | --- |"]
    for mean, name, losses in sorted(rows, key=lambda row: -row[0]):
        lines.append(f"| {name} | {', '.join(f'{loss:.2f}' for loss in losses)} | {mean:.2f} |")
    return "\n".join(lines)


def final_loss_table(by_table: Mapping[str, Records]) -> str:
    """Return the best validation loss of each variant by pair, one number for each seed; `-` where no trial ended."""
    pairs = list(dict.fromkeys(pair for records in by_table.values() for pair, _, _ in records))
    lines = [f"| table | variant | {' | '.join(pairs)} | time | steps |", "| --- " * (4 + len(pairs)) + "|"]
    for table, records in by_table.items():
        for variant in dict.fromkeys(variant for _, _, variant in records):
            cells = []
            for pair in pairs:
                finals = [one.final for key, one in sorted(records.items()) if key[::2] == (pair, variant)]
                cells.append(", ".join(f"{final:.4g}" if math.isfinite(final) else "-" for final in finals))
            time, _, _, steps = effect_cells(records, variant).split(" | ")
            lines.append(f"| {table} | {variant} | {' | '.join(cells)} | {time} | {steps} |")
    return "\n".join(lines)
