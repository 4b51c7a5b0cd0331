"""castpool's storage compared with Optuna's, in one run on one server.

    python -m tests.benchmarks.storage [--trials 100 1000 10000] [--workers 8 32 64] [--quick]

The first table has the cost of a trial with 8 parameters and 10 reports under TPE: SQL statements that arrive at the
server (BEGIN and COMMIT included), and milliseconds in the storage, without the sampler's. The second has the share of
time that workers spend in trials that only sleep: 4 s with 10 reports; and 200 workers with trials of 20 s. Trials of
one length always start and end at the same time; real trainings have many lengths.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from castpool.storage.store import open_store
from tests.benchmarks.storage_cost import PRUNERS, create_with_slots, fill, load, run_trials, time_calls
from tests.benchmarks.storage_pool import Load, castpool_worker, measure, rdb_worker
from tests.benchmarks.storages import STORAGES
from tests.private_server import private_server

STATEMENT = "statement:", "execute "
SLOTS = 1000  # more than the trials that are run


def administer(server: URL, statement: str) -> None:
    """Run a statement outside any transaction."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@contextmanager
def database(server: URL, template: str = "template1") -> Iterator[URL]:
    """A new database, dropped at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.set(database=name)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def full_url(url: URL) -> str:
    """Return the URL as text, with its password."""
    return url.render_as_string(hide_password=False)


def count_statements(url: URL, log: Path, storage_name: str, pruner: str, trials: int) -> float:
    """Return the statements for each trial that arrive at the server while a worker runs its third and later trials."""
    with tempfile.TemporaryDirectory() as folder, STORAGES[storage_name](full_url(url), Path(folder)) as storage:
        study = load(storage, "study", pruner)
        run_trials(study, 2)
        marks = []
        for n in (0, trials):
            run_trials(study, n)
            administer(url, f"SELECT 'mark {len(marks)}'")
            marks.append(n)
    lines = log.read_text(errors="replace").splitlines()
    places = [number for number, line in enumerate(lines) if "SELECT 'mark " in line]
    between = lines[places[-2] + 1 : places[-1]]
    return sum(f"LOG:  {kind}" in line for line in between for kind in STATEMENT) / trials


def time_trials(url: URL, storage_name: str, pruner: str, trials: int, filled: int, repeats: int) -> float:
    """Return the milliseconds in the storage for each trial, in a study with ``filled`` trials; a median of repeats."""
    with tempfile.TemporaryDirectory() as folder, STORAGES[storage_name](full_url(url), Path(folder)) as storage:
        if storage_name == "JournalStorage":
            fill(storage, storage.create_new_study([StudyDirection.MINIMIZE], "study"), filled)
        study = load(storage, "study", pruner)
        run_trials(study, 2)  # the existing trials are read once
        taken = []
        for repeat in range(repeats):
            with time_calls(storage) as clock:
                run_trials(study, trials, seed=repeat)
            taken.append(1000 * clock.seconds / trials)
    return statistics.median(taken)


def cost_table(server: URL, log: Path, sizes: list[int], trials: int, repeats: int) -> Table:
    """Measure the cost of a trial."""
    table = Table("storage", "pruner", "statements", *(f"ms at {size:,}" for size in sizes), "last / first")
    for pruner in PRUNERS:
        statements: dict[str, float] = {}
        times: dict[str, list[float]] = {name: [] for name in STORAGES}
        for size in sizes:
            with database(server) as base:
                with open_store(full_url(base)) as store:
                    fill(store.trials, create_with_slots(store, "study", SLOTS), size)
                administer(base, "ANALYZE")
                for name in STORAGES:
                    with database(server, str(base.database)) as url:
                        if size == sizes[0] and name != "JournalStorage":
                            administer(url, f"ALTER DATABASE {url.database} SET log_statement = 'all'")
                            statements[name] = count_statements(url, log, name, pruner, trials)
                            administer(url, f"ALTER DATABASE {url.database} RESET log_statement")
                        times[name].append(time_trials(url, name, pruner, trials, size, repeats))
                        print(f"{pruner} {size} {name}: {times[name][-1]:.1f} ms", file=sys.stderr)
        for name in STORAGES:
            cells = [f"{milliseconds:.1f}" for milliseconds in times[name]]
            count = f"{statements[name]:.0f}" if name in statements else "-"
            table.add_row(name, pruner, count, *cells, f"{times[name][-1] / times[name][0]:.2f}")
    return table


def pool_table(server: URL, workers: list[int], *, with_many: bool) -> Table:
    """Measure the share of time in trials."""
    table = Table("workers", "trial", "lengths", "sampler", "castpool", "dead", "RDBStorage", "dead")
    samplers, spreads = ("random", "tpe"), (0.0, 0.5)
    loads = [Load(count, 4, 4.0, sampler, spread) for count in workers for sampler in samplers for spread in spreads]
    if with_many:
        loads += [Load(200, 3, 20.0, "random", spread) for spread in spreads]
    for pool_load in loads:
        cells = []
        for worker, is_ours in ((castpool_worker, True), (rdb_worker, False)):
            with database(server) as url:
                outcome = measure(full_url(url), pool_load, worker, is_ours=is_ours)
            cells += [f"{outcome.share:.3f}", str(outcome.dead)]
            print(f"{pool_load} {worker.__name__}: {outcome}", file=sys.stderr)
        lengths = f"± {pool_load.spread:.0%}" if pool_load.spread else "all the same"
        table.add_row(str(pool_load.workers), f"{pool_load.trial_seconds:g} s", lengths, pool_load.sampler, *cells)
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="*", default=[100, 1000, 10000], help="trials in the study before")
    parser.add_argument("--workers", type=int, nargs="*", default=[8, 32, 64], help="workers at once")
    parser.add_argument("--quick", action="store_true", help="fewer trials, no 200 workers")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Console()
    with private_server(max_connections=100) as postgres:
        server, log = make_url(postgres.url), postgres.log
        trials, repeats = (5, 3) if options.quick else (10, 5)
        if options.trials:
            console.print(cost_table(server, log, options.trials, trials, repeats))
        if options.workers:
            console.print(pool_table(server, options.workers, with_many=not options.quick))


if __name__ == "__main__":
    main()
