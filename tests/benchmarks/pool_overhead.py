"""The cost of a pool compared with N processes that are started one by one, measured on the demo data.

    python -m tests.benchmarks.pool_overhead [--trials 20] [--workers 2] [--as-typed]

For each way of starting workers: the share of their wall time in training (from joining the study to leaving it),
seconds from the command to the first training, seconds to the end, and memory (PSS) for each worker.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass

import optuna
import psutil
from sqlalchemy import text

from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import open_study

TIMES = text("""
SELECT sum(extract(epoch FROM left_at - joined_at))::float FROM castpool_workers WHERE study_id = :study_id
""")


@dataclass(frozen=True)
class Row:
    """One way of starting workers, measured."""

    name: str
    share: float
    first_seconds: float
    total_seconds: float
    megabytes: float


class Memory(threading.Thread):
    """Samples the proportional memory of training processes; keeps the largest mean over them."""

    def __init__(self, roots: list[int], n_workers: int) -> None:
        super().__init__(daemon=True)
        self.roots, self.n_workers, self.largest = roots, n_workers, 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(1.0):
            sizes = []
            for root in self.roots:
                try:
                    processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
                    sizes += [process.memory_full_info().pss / 2**20 for process in processes]
                except psutil.Error:
                    continue
            # The processes that serve the workers count with them: the fork server and the pool's main process.
            self.largest = max(self.largest, sum(sizes) / self.n_workers)


def measure(store: Store, name: str, commands: list[list[str]], study: str, n_workers: int, **environment: str) -> Row:
    """Run the commands until all have ended, and read what the study recorded."""
    started = time.time()
    environment = {**os.environ, **environment}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for command in commands]
    memory = Memory([process.pid for process in running], n_workers)
    memory.start()
    for process in running:
        if process.wait() != 0:
            sys.exit(f"{name}: a worker failed with exit code {process.returncode}")
    total = time.time() - started
    memory.ended.set()
    trials = optuna.load_study(study_name=study, storage=store.trials).trials
    training = sum(trial.user_attrs["training_seconds"] for trial in trials)
    with store.engine.connect() as connection:
        present = connection.execute(TIMES, {"study_id": open_study(store, study).study_id}).scalar_one()
    first = min(trial.datetime_start.timestamp() for trial in trials if trial.datetime_start) - started
    return Row(name, training / present, first, total, memory.largest)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--as-typed", action="store_true", help="also let each process use all cores; slow")
    arguments = parser.parse_args()
    n_workers = arguments.workers
    castpool = [sys.executable, "-m", "castpool"]
    threads = str(max(1, (os.cpu_count() or 1) // n_workers))
    ways: list[tuple[str, bool, dict[str, str]]] = [
        ("castpool pool", False, {}),
        ("processes, cores shared by hand", True, {"OMP_NUM_THREADS": threads}),
    ]
    if arguments.as_typed:
        ways.append(("processes, each on all cores", True, {}))
    print(f"| {n_workers} workers, {arguments.trials} trials | in training | first step, s | all, s | MB per worker |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with open_store() as store:
        for name, one_by_one, environment in ways:
            study = f"pool-overhead-{uuid.uuid4().hex[:8]}"
            create = [*castpool, "create", "--demo", "--name", study, "--trials", str(arguments.trials)]
            subprocess.run(create, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            commands = [[*castpool, "worker", study]] * n_workers
            if not one_by_one:
                commands = [[*castpool, "pool", study, "--workers", str(n_workers), "--quiet"]]
            row = measure(store, name, commands, study, n_workers, **environment)
            cells = (f"{row.share:.2f}", f"{row.first_seconds:.1f}", f"{row.total_seconds:.0f}", f"{row.megabytes:.0f}")
            print(f"| {row.name} | {' | '.join(cells)} |", flush=True)
            optuna.delete_study(study_name=study, storage=store.trials)


if __name__ == "__main__":
    main()
