"""Time to a good loss, on the same cores, data, validation and test windows, with two workers for each system.

    python -m tests.benchmarks.time_to_loss [--pairs NAME ...] [--seeds 1 2 3] [--seconds 120] [--out FOLDER]
    python -m tests.benchmarks.time_to_loss --quick
    python -m tests.benchmarks.time_to_loss --recorded --seconds 90

The record of each run is added to FOLDER/TABLE.jsonl.xz, and a recorded run is not repeated: the whole takes hours and
may be stopped and resumed. The order of the systems differs by seed. Each ratio compares runs of one seed, so seeds may
be run on different days; all runs of a seed must be on one machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from pathlib import Path

from castpool.workers.support.logs import quiet
from castpool.workers.support.machine import cores
from tests.benchmarks.time_to_loss.pairs import PAIRS, QUICK, USUAL
from tests.benchmarks.time_to_loss.records import MEASURED, read_records
from tests.benchmarks.time_to_loss.spread import spread_tables
from tests.benchmarks.time_to_loss.systems import BASELINES, PACKAGES, SYSTEMS, add_test_error, run_system
from tests.benchmarks.time_to_loss.table import Comparison


def order_systems(seed: int) -> list[str]:
    """Return the systems in this seed's order: the first run meets a cooler machine and colder caches."""
    names = list(SYSTEMS)
    shift = seed % len(names)
    return [*names[shift:], *names[:shift]]


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=sorted(PAIRS), metavar="NAME", help=", ".join(PAIRS))
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS, *BASELINES], default=[*SYSTEMS, *BASELINES])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--seconds", type=float, help="wall time of each system, imports included")
    parser.add_argument("--quick", action="store_true", help="one small pair and seed, half a minute for each system")
    parser.add_argument("--recorded", action="store_true", help="print the recorded runs, and run nothing")
    parser.add_argument("--no-test", action="store_true", help="leave out the refits for the test windows")
    parser.add_argument("--out", type=Path, help="folder of the records; default docs/measured")
    parser.add_argument("--table", help="name of the records; default time-to-loss-SECONDSs")
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    pairs = options.pairs or (QUICK if options.quick else USUAL)
    seeds = options.seeds or ([1] if options.quick else [1, 2, 3])
    seconds = options.seconds or (30.0 if options.quick else 120.0)
    out = options.out or (Path("build") if options.quick else MEASURED)
    table = options.table or f"time-to-loss-{seconds:g}s"
    file = out / f"{table}.jsonl.xz"
    known = read_records(file)
    records = []
    for seed in seeds:
        for name in pairs:
            for system in [*order_systems(seed), *BASELINES]:
                if system not in options.systems or (system in BASELINES and (seed != seeds[0] or options.no_test)):
                    continue
                if (record := known.get((name, seed, system, ""))) is None:
                    if options.recorded:
                        continue
                    started = time.monotonic()
                    record = run_system(system, PAIRS[name], seed, seconds, tests=not options.no_test)
                    record.add_to(file)
                    found = f"loss {record.final:.5g}, test {record.test or float('nan'):.5g}, {record.trials} trials"
                    took = time.monotonic() - started
                    print(f"{name}, seed {seed}, {system}: {found} ({took:.0f} s)", file=sys.stderr, flush=True)
                elif not (options.recorded or options.no_test) and add_test_error(record):
                    record.add_to(file)
                    print(f"{name}, seed {seed}, {system}: test {record.test:.5g}", file=sys.stderr, flush=True)
                records.append(record)
    if not records:
        parser.error(f"--recorded: {file} has no such records; leave out --recorded to measure them.")
    comparison = Comparison(records)
    versions = ", ".join(f"{package} {records[0].versions[package]}" for package in PACKAGES)
    print(f"{seconds:g} s each, two workers, {cores()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{versions}\n")
    print(comparison.losses(), comparison.ratios(), *spread_tables(comparison), sep="\n\n")
    for plotted in comparison.plot(out / table):
        print(f"\n{plotted}", end="")
    print()


if __name__ == "__main__":
    main()
