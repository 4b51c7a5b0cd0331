"""How far castpool's ratios to a peer differ between seeds and runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from tests.benchmarks.time_to_loss.records import Record
from tests.benchmarks.time_to_loss.systems import SYSTEMS
from tests.benchmarks.time_to_loss.table import Comparison, geometric_mean, loss_ratio, test_ratio, time_ratio

PEERS = ("careful", "ray", "script")
RATIOS = (time_ratio, loss_ratio, test_ratio)
# A peer's run counts as diverged if its final loss is above this multiple of castpool's.
DIVERGED = 10.0
# With fewer seeds, their halves are not shown.
FEWEST_SEEDS = 4

# Castpool's record and the peer's, of one pair and seed.
Run = tuple[Record, Record]


def spread_tables(comparison: Comparison) -> list[str]:
    """Return a table for each peer that was run with several seeds."""
    tables = []
    for peer in PEERS:
        runs = comparison.runs(peer)
        if len({ours.seed for ours, _ in runs}) > 1:
            tables.append(spread_table(peer, runs))
    return tables


def spread_table(peer: str, runs: Sequence[Run]) -> str:
    """Return castpool's ratios to a peer for both halves of the seeds, for all seeds, and for single runs."""
    seeds = sorted({ours.seed for ours, _ in runs})
    halves = (seeds[: len(seeds) // 2], seeds[len(seeds) // 2 :]) if len(seeds) >= FEWEST_SEEDS else ()
    usual = [run for run in runs if not run[1].curve or run[1].final <= DIVERGED * run[0].final]
    lines = [
        f"| castpool compared with {SYSTEMS[peer]} | time to its final loss | loss at equal time | test error |",
        "| --- | --- | --- | --- |",
        *(
            _line(f"seeds {half[0]} to {half[-1]}", [run for run in runs if run[0].seed in half], _mean_over_pairs)
            for half in halves
        ),
        _line(f"seeds {seeds[0]} to {seeds[-1]}", runs, _mean_over_pairs),
        _line(f"the same, without the peer's diverged runs ({len(runs) - len(usual)})", usual, _mean_over_pairs),
        _line("median of all runs", runs, _median),
        _line("runs below 1", runs, _share_below_one),
    ]
    return "\n".join(lines)


def _line(label: str, runs: Sequence[Run], summary: Callable[[Sequence[Run], Callable[..., float]], str]) -> str:
    return f"| {label} | {' | '.join(summary(runs, ratio) for ratio in RATIOS)} |"


def _finite(runs: Sequence[Run], ratio: Callable[[Record, Record], float]) -> list[float]:
    return [value for value in (ratio(*run) for run in runs) if math.isfinite(value)]


def _mean_over_pairs(runs: Sequence[Run], ratio: Callable[[Record, Record], float]) -> str:
    pairs = dict.fromkeys(ours.pair for ours, _ in runs)
    means = [geometric_mean(_finite([run for run in runs if run[0].pair == pair], ratio)) for pair in pairs]
    return f"{geometric_mean(means):.3f}"


def _median(runs: Sequence[Run], ratio: Callable[[Record, Record], float]) -> str:
    return f"{median(_finite(runs, ratio)):.3f}"


def _share_below_one(runs: Sequence[Run], ratio: Callable[[Record, Record], float]) -> str:
    values = _finite(runs, ratio)
    return f"{sum(value < 1 for value in values)} of {len(values)}"
