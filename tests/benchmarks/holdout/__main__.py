"""Test errors at equal wall time, with two workers for each system, on windows that follow everything it was given.

    python -m tests.benchmarks.holdout [--pairs NAME ...] [--seeds 1 2 3 4 5 6] [--seconds 90]
    python -m tests.benchmarks.holdout --systems careful ray script --pairs NAME ...
    python -m tests.benchmarks.holdout --systems --autogluon PYTHON
    python -m tests.benchmarks.holdout --development
    python -m tests.benchmarks.holdout --quick
    python -m tests.benchmarks.holdout --recorded

castpool runs as it is typed: it chooses validation, holdout and verification itself, all within the seconds. The last
fit is outside of them, as that of the peers is. The kept runs of `tests.benchmarks.time_to_loss` are used where they
are; --systems runs peers that have none. With --autogluon, PYTHON is an interpreter that has AutoGluon-TimeSeries: it
runs, and castpool with --model auto.

The record of each run is added to docs/measured/TABLE.jsonl.xz, and a recorded run is not repeated: the whole takes
hours and may be stopped and resumed. A run that failed is not recorded. castpool's rules are tuned on the pairs of
--development alone, which have no series in common with those that are reported.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from castpool.workers.support.logs import quiet
from castpool.workers.support.machine import cores
from tests.benchmarks.holdout.autogluon_run import run_autogluon
from tests.benchmarks.holdout.castpool_run import run_baselines, run_castpool
from tests.benchmarks.holdout.ratios import PEERS, Runs
from tests.benchmarks.holdout.runs import (
    AUTOGLUON,
    BASELINES,
    CASTPOOL,
    CASTPOOL_AUTO,
    DELIVERED,
    Key,
    Run,
    baseline_names,
    read_runs,
)
from tests.benchmarks.holdout.table import error_table, pair_ratio_table, ratio_table, verdict_table
from tests.benchmarks.time_to_loss.pairs import DEVELOPMENT, PAIRS, QUICK, REPORTED, Pair
from tests.benchmarks.time_to_loss.records import MEASURED, read_records
from tests.benchmarks.time_to_loss.systems import run_system


def main() -> None:
    """Run what is missing, and print the tables."""
    options, parser = parse_options()
    if not options.recorded:
        import_module("neuralforecast")  # Lightning sets the level of its log when it is imported
    quiet()
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    pairs = DEVELOPMENT if options.development else PAIRS
    names = options.pairs or (QUICK if options.quick else DEVELOPMENT if options.development else REPORTED)
    if unknown := [name for name in names if name not in pairs]:
        parser.error(f"--pairs: {unknown[0]}: write some of {', '.join(pairs)}.")
    if options.development and set(options.systems) & set(PEERS):
        parser.error("--systems: the peers run on the reported pairs only; leave out --development.")
    if options.autogluon and shutil.which(options.autogluon) is None:
        parser.error(f"--autogluon: {options.autogluon} is no program: write an interpreter that has AutoGluon.")
    seeds = options.seeds or ([1] if options.quick else [1, 2, 3, 4, 5, 6])
    seconds = options.seconds or (20.0 if options.quick else 90.0)
    out = options.out or (Path("build") if options.quick or options.development else MEASURED)
    kind = "holdout-development" if options.development else "holdout"
    file = out / f"{options.table or f'{kind}-{seconds:g}s'}.jsonl.xz"
    known = read_runs(file)
    if not options.recorded:
        has_peers = {run.pair for run in kept_peers(names, seconds)}
        systems = [*options.systems, *([CASTPOOL_AUTO, AUTOGLUON] if options.autogluon else [])]
        for seed in seeds:
            for name in names:
                for system in systems:
                    if (name, seed, system) not in known and (system not in PEERS or name not in has_peers):
                        measure(system, pairs[name], seed, seconds, options.autogluon, known, file)
                measure_baselines(pairs[name], known, file)
    shown = [run for run in known.values() if run.pair in names and (not options.seeds or run.seed in (0, *seeds))]
    if not any(run.system == CASTPOOL for run in shown):
        parser.error(f"{file} has no run of castpool on these pairs; leave out --recorded to measure them.")
    ordered = sorted([*shown, *kept_peers(names, seconds)], key=lambda run: list(pairs).index(run.pair))
    print(
        f"{seconds:g} s each, two workers, {cores()} cores, {platform.machine()}, Python {platform.python_version()}\n"
    )
    runs = Runs(ordered)
    print(error_table(runs), ratio_table(runs), pair_ratio_table(runs), verdict_table(runs), sep="\n\n")


def parse_options() -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", metavar="NAME", help="by default those that are reported")
    parser.add_argument("--systems", nargs="*", choices=[CASTPOOL, *PEERS], default=[CASTPOOL])
    parser.add_argument("--autogluon", metavar="PYTHON", help="also run AutoGluon, and castpool with --model auto")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--seconds", type=float, help="wall time of each system, imports included")
    parser.add_argument("--development", action="store_true", help="the pairs on which castpool's rules are tuned")
    parser.add_argument("--quick", action="store_true", help="one small pair and seed")
    parser.add_argument("--recorded", action="store_true", help="print the recorded runs, and run nothing")
    parser.add_argument("--out", type=Path, help="folder of the records; default docs/measured")
    parser.add_argument("--table", help="name of the records; default holdout-SECONDSs")
    return parser.parse_args(), parser


def measure(
    system: str, pair: Pair, seed: int, seconds: float, python: str | None, known: dict[Key, Run], file: Path
) -> None:
    """Run a system and record the run; a failure is printed only."""
    started = time.monotonic()
    try:
        if system == AUTOGLUON:
            assert python is not None
            run = run_autogluon(python, pair, seed, seconds)
        elif system in PEERS:
            run = Run.from_record(run_system(system, pair, seed, seconds))
        else:
            run = run_castpool(system, pair, seed, seconds)
        known[run.key] = run
        run.add_to(file)
    except (RuntimeError, ValueError) as error:
        print(f"{pair.name}, seed {seed}, {system}: failed: {error}", file=sys.stderr, flush=True)
        return
    test, took = run.errors.get(DELIVERED, float("nan")), time.monotonic() - started
    done = f", done after {run.phases['done']:.0f} s" if "done" in run.phases else ""
    print(f"{pair.name}, seed {seed}, {system}: test {test:.5g}{done} ({took:.0f} s)", file=sys.stderr, flush=True)


def measure_baselines(pair: Pair, known: dict[Key, Run], file: Path) -> None:
    """Record the errors of the baselines that the verdicts on a pair name: those that are not recorded yet."""
    judged = [run for run in known.values() if run.pair == pair.name and run.system == CASTPOOL]
    wanted = dict.fromkeys(name for run in judged for name in baseline_names(run))
    before = known.get((pair.name, 0, BASELINES), Run(BASELINES, pair.name, 0, 0.0, chosen={"names": []}))
    if missing := [name for name in wanted if name not in before.chosen["names"]]:
        found = run_baselines(missing, pair)
        errors, names = {**before.errors, **found.errors}, [*before.chosen["names"], *missing]
        known[found.key] = replace(found, errors=errors, chosen={"names": names})
        known[found.key].add_to(file)


def kept_peers(names: Iterable[str], seconds: float) -> list[Run]:
    """Return the peers' runs of `tests.benchmarks.time_to_loss` on these pairs."""
    records = read_records(MEASURED / f"time-to-loss-{seconds:g}s.jsonl.xz").values()
    return [
        Run.from_record(record)
        for record in records
        if record.system in PEERS and record.pair in names and not record.variant
    ]


if __name__ == "__main__":
    main()
