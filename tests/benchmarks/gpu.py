"""Trials per hour on one GPU, by the number of workers that share it.

    python -m tests.benchmarks.gpu [--models NHITS PatchTST ...] [--workers 1 2 4 8] [--trials 16] [--steps 300]

Every trial of a model trains the model's default configuration for the same number of steps on the same 100 hourly
series, and only the learning rate differs, so the machine is measured. Besides the trials per hour (from the first
start to the last end): the GPU utilisation that nvidia-smi reported, the largest memory in use, and the seconds until
the first trial started. ``0`` workers let castpool's policy choose. Without a GPU the command says so and stops.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import optuna
import pandas as pd

from castpool.sampler_policies.spaces.model_catalogue import entry
from castpool.storage.store import Store, open_store
from castpool.workers.support.gpus import read_gpus

CASTPOOL = [sys.executable, "-m", "castpool"]
HORIZON = 24


@dataclass
class Row:
    """One pool, measured."""

    model: str
    workers: str
    per_hour: float
    busy: float
    megabytes: float
    first_seconds: float


@dataclass
class Watch(threading.Thread):
    """Reads the state of the GPU once a second."""

    readings: list[tuple[float, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.ended.wait(1.0):
            first = read_gpus.__wrapped__()[0]  # without the cache
            self.readings.append((time.time(), first.busy, first.total_mb - first.free_mb))

    def between(self, start: float, end: float) -> tuple[float, float]:
        """Return the mean utilisation and the largest memory in use between two moments."""
        rows = [reading for reading in self.readings if start <= reading[0] <= end] or self.readings[-1:]
        return fmean(row[1] for row in rows), max(row[2] for row in rows)


def table_of_series(n_series: int = 100, length: int = 2000) -> pd.DataFrame:
    """Return hourly series with a daily season; their values do not change the time of a step."""
    rng = np.random.default_rng(1)
    hours = np.arange(length)
    frames = []
    for number in range(n_series):
        y = 10 + np.sin(2 * np.pi * hours / 24 + number) + 0.1 * rng.standard_normal(length)
        ds = pd.date_range("2024-01-01", periods=length, freq="h")
        frames.append(pd.DataFrame({"unique_id": f"s{number:03d}", "ds": ds, "y": y}))
    return pd.concat(frames, ignore_index=True)


def spec_of(model: str, table: Path, study: str, trials: int, steps: int) -> dict[str, object]:
    """Return a study in which only the learning rate is searched."""
    known = entry(model)
    space = {
        parameter.name: known.defaults.get(parameter.name) for parameter in known.default_space(HORIZON, 100).parameters
    }
    fixed = {name: value for name, value in space.items() if value is not None and name != "max_steps"}
    fixed |= {"input_size": 3 * HORIZON, "learning_rate": {"low": 1e-4, "high": 1e-3, "log": True}}
    fixed |= {"windows_batch_size": 1024}
    return {
        "data": str(table), "model": model, "horizon": HORIZON, "freq": "h", "name": study, "trials": trials,
        "max_steps": steps, "val_check_steps": steps // 3, "space": fixed, "pruner": "Nop", "sampler": "Random",
        "disable": ["patience"],
    }  # fmt: skip


def measure(store: Store, model: str, workers: int, trials: int, steps: int) -> Row:
    """Run one pool to its end."""
    study = f"gpu-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        table, spec = Path(folder) / "table.parquet", Path(folder) / "spec.yaml"
        table_of_series().to_parquet(table)
        spec.write_text(json.dumps(spec_of(model, table, study, trials, steps)))
        subprocess.run([*CASTPOOL, "create", str(spec)], check=True, stdout=subprocess.DEVNULL)
    watch = Watch()
    watch.start()
    started = time.time()
    pool = [*CASTPOOL, "pool", study, "--workers", str(workers)]
    subprocess.run(pool, check=True, stdout=sys.stderr if workers == 0 else subprocess.DEVNULL, env=os.environ)
    watch.ended.set()
    ended = optuna.load_study(study_name=study, storage=store.trials).trials
    starts = [trial.datetime_start.timestamp() for trial in ended if trial.datetime_start]
    ends = [trial.datetime_complete.timestamp() for trial in ended if trial.datetime_complete]
    busy, megabytes = watch.between(min(starts), max(ends))
    per_hour = 3600 * len(ends) / (max(ends) - min(starts))
    return Row(model, str(workers) if workers else "by policy", per_hour, busy, megabytes, min(starts) - started)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["NHITS", "PatchTST", "GRU"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    if not (gpus := read_gpus()):
        sys.exit("No GPU here: nothing is measured.")
    print(f"{gpus[0].name}, {len(os.sched_getaffinity(0))} cores, {options.trials} trials of {options.steps} steps\n")
    print("| model | workers | trials an hour | GPU busy | memory, MB | first trial after, s |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with open_store() as store:
        for model in options.models:
            for workers in options.workers:
                row = measure(store, model, workers, options.trials, options.steps)
                cells = (f"{row.per_hour:.0f}", f"{row.busy:.0%}", f"{row.megabytes:.0f}", f"{row.first_seconds:.1f}")
                print(f"| {row.model} | {row.workers} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
