"""The effect of each of castpool's optimizations: disabled alone, and enabled alone.

    python -m tests.benchmarks.ablation [--pairs NAME ...] [--seeds 1 2 3] [--seconds 60] [--out FOLDER]
    python -m tests.benchmarks.ablation --recorded --seconds 30 --seeds 1 --tables ablation-30s ablation-30s-alone

For each pair and seed castpool runs with all optimizations, with none, without each, and with each alone. ``--disable``
is the switch; sampler, pruner and the frequency of checks have their own options. The record of each run is added to
FOLDER/TABLE.jsonl.xz, and a recorded run is not repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from castpool.sampler_policies.optimizations import OPTIMIZATIONS
from tests.benchmarks.ablation_tables import (
    ALL,
    NONE,
    PARTS,
    SWITCHED,
    Records,
    effect_table,
    final_loss_table,
    repeat_table,
)
from tests.benchmarks.time_to_loss.pairs import PAIRS
from tests.benchmarks.time_to_loss.records import MEASURED, read_records
from tests.benchmarks.time_to_loss.systems import run_system

# The options that disable what `--disable` does not name.
OPTIONS = {
    "sampler": ["--sampler", "Random"],
    "pruner": ["--pruner", "Nop"],
    "frequent-checks": ["--val-check-steps", "100"],
}
PART_OPTIONS = {"demotion": ["--pruner", "{name: SuccessiveHalving, reduction_factor: 3}"]}
SWITCHES = {**{name: ["--disable", name] for name in OPTIMIZATIONS}, **OPTIONS}
USUAL = ("demo-NHITS", "ercot_zones-MLP", "tourism_quarterly-PatchTST")


def build_variants() -> dict[str, list[str]]:
    """Return each variant's options."""

    def disable(*names: str) -> list[str]:
        return [word for name in names for word in SWITCHES[name]]

    without = {f"without {name}": disable(name) for name in SWITCHED}
    without |= {f"without {part}": PART_OPTIONS[part] for part in PARTS}
    alone = {f"{name} alone": disable(*(other for other in SWITCHED if other != name)) for name in SWITCHED}
    return {ALL: [], NONE: disable(*SWITCHED), **without, **alone}


def main() -> None:
    """Run what has no record, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    variants = build_variants()
    parser.add_argument("--pairs", nargs="+", choices=sorted(PAIRS), default=USUAL, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--variants", nargs="+", choices=variants, default=list(variants), metavar="VARIANT")
    parser.add_argument("--recorded", action="store_true", help="print the recorded runs, and run nothing")
    parser.add_argument("--tables", nargs="+", help="names of the records; the first gets new ones")
    parser.add_argument("--out", type=Path, default=MEASURED, help="folder of the records; default docs/measured")
    options = parser.parse_args()
    tables = options.tables or [f"ablation-{options.seconds:g}s"]
    if not options.recorded:
        file = options.out / f"{tables[0]}.jsonl.xz"
        known = read_records(file)
        for seed in options.seeds:
            for pair in options.pairs:
                for variant in dict.fromkeys((ALL, NONE, *options.variants)):
                    if (pair, seed, "castpool", variant) in known:
                        continue
                    more = variants[variant]
                    record = run_system("castpool", PAIRS[pair], seed, options.seconds, tests=False, options=more)
                    record.variant = variant
                    record.add_to(file)
                    found = f"loss {record.final:.5g}, {record.trials} trials, {record.steps} steps"
                    print(f"{pair}, seed {seed}, {variant}: {found}", file=sys.stderr, flush=True)
    by_table: dict[str, Records] = {
        table: {
            (pair, seed, variant): record
            for (pair, seed, _, variant), record in read_records(options.out / f"{table}.jsonl.xz").items()
            if pair in options.pairs and seed in options.seeds
        }
        for table in tables
    }
    if not all(by_table.values()):
        parser.error(f"--recorded: {options.out} has no such records; leave out --recorded to measure them.")
    print(effect_table(by_table), repeat_table(by_table), final_loss_table(by_table), sep="\n\n")


if __name__ == "__main__":
    main()
