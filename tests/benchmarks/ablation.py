"""What each lever of castpool's speed is worth: left out alone, and put in alone.

    python -m tests.benchmarks.ablation [--pairs NAME ...] [--seeds 1 2 3] [--seconds 60] [--out FOLDER]

For each pair and seed castpool runs with all levers, with none, without each, and with each alone; ``--without`` is the
switch, for sampler, pruner and the frequency of checks their own options. Numbers of a variant, geometric means over
pairs and seeds: the time until it is as good as castpool without any lever is at the end, over that one's time; its
loss at the end, and the training steps that it had taken by then, over those of castpool with all levers. Records are
kept, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from sampler_policies.levers import LEVERS
from tests.benchmarks.time_to_loss.pairs import PAIRS
from tests.benchmarks.time_to_loss.records import KEPT, Record, kept
from tests.benchmarks.time_to_loss.systems import run_system
from tests.benchmarks.time_to_loss.table import loss_ratio, mean, time_ratio, was_reached

# What leaves a lever out; these have no name that --without knows.
OPTIONS = {
    "sampler": ["--sampler", "Random"],
    "pruner": ["--pruner", "Nop"],
    "frequent-checks": ["--val-check-steps", "100"],
}
# Parts of the pruner, which can only be left out where there is one.
PARTS = {"promotions that stand": ["--pruner", "{name: SuccessiveHalving, reduction_factor: 3}"]}
SWITCHES = {**{lever: ["--without", lever] for lever in LEVERS}, **OPTIONS}
ALL, NONE = "all levers", "no lever"
USUAL = ("demo-NHITS", "ercot_zones-MLP", "tourism_quarterly-PatchTST")


def variants() -> dict[str, list[str]]:
    """Return each variant's options."""

    def leaving_out(*levers: str) -> list[str]:
        return [word for lever in levers for word in SWITCHES[lever]]

    without = {f"without {lever}": leaving_out(lever) for lever in SWITCHES}
    without |= {f"without {part}": words for part, words in PARTS.items()}
    alone = {f"{lever} alone": leaving_out(*(own for own in SWITCHES if own != lever)) for lever in SWITCHES}
    return {ALL: [], NONE: leaving_out(*SWITCHES), **without, **alone}


def table(records: dict[tuple[str, int, str], Record]) -> str:
    """Return the table of what there is."""
    lines = [
        "| lever | without it: time | reached | loss | steps | alone: time | reached | loss | steps |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    runs = sorted({key[:2] for key in records})

    def cells(variant: str) -> str:
        found = [(records.get((*own, variant)), records.get((*own, NONE)), records.get((*own, ALL))) for own in runs]
        times, losses, steps, reached = [], [], [], []
        for one, none, whole in found:
            if one is not None and none is not None and whole is not None:
                times.append(time_ratio(one, none))
                losses.append(loss_ratio(one, whole))
                steps.append(one.steps / max(whole.steps, 1))
                reached.append(was_reached(one, none))
        if not times:
            return "- | - | - | -"
        # A variant that finished nothing has a time, which is the whole budget, and neither loss nor steps.
        loss, ratio = (f"{mean(losses):.3f}", f"{mean(steps):.2f}") if any(map(math.isfinite, losses)) else ("-", "-")
        return f"{mean(times):.2f} | {sum(reached)} of {len(reached)} | {loss} | {ratio}"

    lines.append(f"| ({ALL}; {NONE}) | {cells(ALL)} | {cells(NONE)} |")
    for lever in (*SWITCHES, *PARTS):
        lines.append(f"| {lever} | {cells(f'without {lever}')} | {cells(f'{lever} alone')} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=sorted(PAIRS), default=USUAL, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--variants", nargs="+", choices=variants(), default=list(variants()), metavar="VARIANT")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = options.out or KEPT / f"ablation-{options.seconds:g}s"
    file = out / "records.jsonl"
    known = kept(file)
    records = {}
    for seed in options.seeds:
        for name in options.pairs:
            for variant in dict.fromkeys((ALL, NONE, *options.variants)):
                if (record := known.get((name, seed, "castpool", variant))) is None:
                    more = variants()[variant]
                    record = run_system("castpool", PAIRS[name], seed, options.seconds, tests=False, options=more)
                    record.variant = variant
                    record.keep(file)
                    found = f"loss {record.final:.5g}, {record.trials} trials, {record.steps} steps"
                    print(f"{name}, seed {seed}, {variant}: {found}", file=sys.stderr, flush=True)
                records[name, seed, variant] = record
    print(table(records))


if __name__ == "__main__":
    main()
