"""Who reaches a good loss first, on the same cores, data, validation and test windows, with two workers each.

    python -m tests.benchmarks.time_to_loss [--pairs NAME ...] [--seeds 1 2 3] [--seconds 120] [--out FOLDER]
    python -m tests.benchmarks.time_to_loss --quick
    python -m tests.benchmarks.time_to_loss --kept --seconds 90

Each run's record is kept in the folder's records.jsonl, and what is there is not run again: the whole takes hours and
may be stopped and gone on with. Systems take turns in another order for each seed. Ratios are of runs with one seed, so
seeds may be of different days; a seed's runs are to be of one machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from pathlib import Path

from tests.benchmarks.time_to_loss.pairs import PAIRS, QUICK, USUAL
from tests.benchmarks.time_to_loss.records import KEPT, kept
from tests.benchmarks.time_to_loss.systems import BASELINES, PACKAGES, SYSTEMS, judge, run_system
from tests.benchmarks.time_to_loss.table import Comparison
from workers.logs import quiet
from workers.pool import cores


def in_turn(seed: int) -> list[str]:
    """Return the systems in this seed's order: what runs first meets a cooler machine and colder caches."""
    names = list(SYSTEMS)
    shift = seed % len(names)
    return [*names[shift:], *names[:shift]]


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=sorted(PAIRS), metavar="NAME", help=", ".join(PAIRS))
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS, *BASELINES], default=[*SYSTEMS, *BASELINES])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--seconds", type=float, help="wall time of each system, its imports included")
    parser.add_argument("--quick", action="store_true", help="one small pair and seed, for half a minute each")
    parser.add_argument("--kept", action="store_true", help="print what was measured so far, and run nothing")
    parser.add_argument("--no-test", action="store_true", help="leave the refits for the test windows out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    pairs = options.pairs or (QUICK if options.quick else USUAL)
    seeds = options.seeds or ([1] if options.quick else [1, 2, 3])
    seconds = options.seconds or (30.0 if options.quick else 120.0)
    folder = Path("build") if options.quick else KEPT
    out = options.out or folder / f"time-to-loss-{seconds:g}s"
    file = out / "records.jsonl"
    known = kept(file)
    records = []
    for seed in seeds:
        for name in pairs:
            for system in [*in_turn(seed), *BASELINES]:
                if system not in options.systems or (system in BASELINES and (seed != seeds[0] or options.no_test)):
                    continue
                if (record := known.get((name, seed, system, ""))) is None:
                    if options.kept:
                        continue
                    started = time.monotonic()
                    record = run_system(system, PAIRS[name], seed, seconds, tests=not options.no_test)
                    record.keep(file)
                    found = f"loss {record.final:.5g}, test {record.test or float('nan'):.5g}, {record.trials} trials"
                    took = time.monotonic() - started
                    print(f"{name}, seed {seed}, {system}: {found} ({took:.0f} s)", file=sys.stderr, flush=True)
                elif not (options.kept or options.no_test) and judge(record):
                    record.keep(file)  # the later line counts
                    print(f"{name}, seed {seed}, {system}: test {record.test:.5g}", file=sys.stderr, flush=True)
                records.append(record)
    if not records:
        parser.error(f"--kept: {file} has no such records; leave it out to measure them.")
    comparison = Comparison(records)
    versions = ", ".join(f"{own} {records[0].versions[own]}" for own in PACKAGES)
    print(f"{seconds:g} s each, two workers, {cores()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{versions}\n")
    print(comparison.losses(), comparison.ratios(), sep="\n\n")
    for plotted in comparison.plot(out):
        print(f"\n{plotted}", end="")
    print()


if __name__ == "__main__":
    main()
