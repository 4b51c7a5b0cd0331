"""The trials that samplers need: castpool's policy, Random, Optuna's default and OptunaHub's AutoSampler.

    python -m tests.benchmarks.samplers [--workers 1 8] [--trials 60] [--repeats 5]
    python -m tests.benchmarks.samplers --table FILE --model NHITS --horizon 24 [--workers 8] [--trials 60]

Without a table, on synthetic functions like NeuralForecast's spaces: trials until the best loss is as good as random
search's at the end, as a mean over repeats. With a table, on recorded trainings: best loss by trials and by training
steps, without pruning and with castpool's pruner. Every sampler gets the same ordered space.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from castpool.sampler_policies.rules.choose_pruner import build_pruner, choose_pruner
from tests.benchmarks.contestants import budget_of, choose_maker, load_auto_sampler
from tests.benchmarks.problems import PROBLEMS, Problem
from tests.benchmarks.simulation import Run, simulate
from tests.benchmarks.tables import Recorded


@dataclass(frozen=True)
class Task:
    """One study to simulate. ``table`` names the file, the model and the horizon of a recorded problem."""

    problem: int
    table: tuple[str, str, int] | None
    contestant: str
    is_pruned: bool
    workers: int
    trials: int
    seed: int


PROBLEM_OF: dict[tuple[str, str, int], Recorded] = {}


def problem_of(task: Task) -> Problem:
    """Return the task's problem; a table's surrogate is fitted once for each process."""
    if task.table is None:
        return PROBLEMS[task.problem]
    if task.table not in PROBLEM_OF:
        path, model, horizon = task.table
        PROBLEM_OF[task.table] = Recorded(Path(path), model, horizon)
    return PROBLEM_OF[task.table]


def work(task: Task) -> Run:
    """Simulate one study."""
    import torch

    torch.set_num_threads(1)
    problem = problem_of(task)
    samplers, space = choose_maker(task.contestant, problem, task.trials, task.workers, task.seed)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if task.is_pruned:
        pruner = build_pruner(choose_pruner(budget_of(problem, task.trials, task.workers), None, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return simulate(problem, space, samplers, pruner, task.trials, task.workers, task.seed)


def run_all(tasks: Sequence[Task], processes: int) -> dict[Task, Run]:
    """Simulate all, several at a time, with progress on standard error."""
    done: dict[Task, Run] = {}
    # Spawned, because a fork of a process in which torch has run may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for task, run in zip(tasks, pool.map(work, tasks), strict=True):
            done[task] = run
            if sys.stderr.isatty() or len(done) % 20 == 0:
                print(f"{len(done)} of {len(tasks)} studies", end="\r", file=sys.stderr, flush=True)
    return done


def trials_until(run: Run, target: float) -> float:
    """Return the trials until the best loss reaches the target; one and a half budgets if it never does."""
    return float(next((n for n, best in enumerate(run.best, 1) if best <= target), 1.5 * len(run.best)))


def run_synthetic(arguments: argparse.Namespace, contestants: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each problem, number of workers and contestant: mean trials to random search's final loss."""
    tasks = [
        Task(index, None, name, False, workers, arguments.trials, seed)
        for seed in range(arguments.repeats)
        for workers in arguments.workers
        for index in range(len(PROBLEMS))
        for name in contestants
    ]
    runs = run_all(tasks, arguments.processes)
    rows: list[dict[str, Any]] = []
    for index, problem in enumerate(PROBLEMS):
        for workers in arguments.workers:

            def of(name: str, index: int = index, workers: int = workers) -> list[Run]:
                return [
                    run
                    for task, run in runs.items()
                    if (task.problem, task.workers, task.contestant) == (index, workers, name)
                ]

            target = float(np.mean([run.best[-1] for run in of("Random")]))
            random = float(np.mean([trials_until(run, target) for run in of("Random")]))
            for name in contestants:
                needed = float(np.mean([trials_until(run, target) for run in of(name)]))
                last = float(np.mean([run.best[-1] for run in of(name)]))
                rows.append(
                    {
                        "problem": problem.name,
                        "workers": workers,
                        "sampler": name,
                        "trials": needed,
                        "of_random": needed / random,
                        "best_at_end": last,
                    }
                )
    return rows


def run_recorded(arguments: argparse.Namespace, contestants: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each contestant and kind of pruning: best loss by trials, and by training steps spent."""
    table = (str(arguments.table), arguments.model, arguments.horizon)
    tasks = [
        Task(0, table, name, is_pruned, workers, arguments.trials, seed)
        for seed in range(arguments.repeats)
        for workers in arguments.workers
        for name in contestants
        for is_pruned in (False, True)
    ]
    problem = problem_of(tasks[0])
    assert isinstance(problem, Recorded)
    say = print if not arguments.json else (lambda line: print(line, file=sys.stderr))
    say(f"{problem.name}: {len(problem.rows)} trainings, {len(problem.space.parameters)} parameters; ")
    say(f"surrogate's cross-validated R2 {problem.fit:.2f} (log of the best check)")
    runs = run_all(tasks, arguments.processes)
    marks = [mark for mark in (10, 20, 30, 60, 100) if mark < arguments.trials] + [arguments.trials]
    shares = (0.1, 0.25, 0.5, 1.0)
    rows: list[dict[str, Any]] = []
    for workers in arguments.workers:
        for is_pruned in (False, True):
            for name in contestants:
                chosen = [
                    run
                    for task, run in runs.items()
                    if (task.workers, task.is_pruned, task.contestant) == (workers, is_pruned, name)
                ]
                whole = arguments.trials * problem.max_steps
                row: dict[str, Any] = {"workers": workers, "pruned": is_pruned, "sampler": name}
                row |= {f"@{mark}": float(np.mean([run.best[mark - 1] for run in chosen])) for mark in marks}
                row |= {
                    f"steps {share:.0%}": float(np.mean([loss_at_steps(run, share * whole) for run in chosen]))
                    for share in shares
                }
                row["steps spent"] = float(np.mean([run.steps[-1] for run in chosen])) / whole
                rows.append(row)
    return rows


def loss_at_steps(run: Run, steps: float) -> float:
    """Return the best loss within so many training steps; before the first trial ends, that trial's loss."""
    within = [best for best, spent in zip(run.best, run.steps, strict=True) if spent <= steps]
    return within[-1] if within else run.best[0]


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as Markdown."""
    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join("---" for _ in rows[0]) + " |")
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()) + " |"
        )


def summarise(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the mean over all problems of each sampler, for each number of workers."""
    for workers in sorted({row["workers"] for row in rows}):
        by_name: dict[str, list[float]] = {}
        for row in rows:
            if row["workers"] == workers:
                by_name.setdefault(row["sampler"], []).append(row["of_random"])
        means = {name: float(np.exp(np.mean(np.log(ratios)))) for name, ratios in by_name.items()}
        ranking = ", ".join(f"{name} {mean:.2f}" for name, mean in sorted(means.items(), key=lambda item: item[1]))
        print(
            f"{workers} worker(s), trials to random search's final loss, divided by Random's, geometric mean: {ranking}"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="JSON lines (xz) with config, curve, seconds, error")
    parser.add_argument("--model", default="NHITS", help="the model whose space the table has")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=None, help="simulated; 1 and 8, with a table 1")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samplers", nargs="+", help="only these")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.workers = arguments.workers or ([1, 8] if arguments.table is None else [1])
    contestants = ["castpool", "Random", "Optuna's default", "Optuna's default, categories", "GP"]
    try:
        load_auto_sampler()
        contestants.append("AutoSampler")
    except ImportError as error:
        print(f"without OptunaHub's AutoSampler: {error}", file=sys.stderr)
    contestants = arguments.samplers or contestants
    rows = run_recorded(arguments, contestants) if arguments.table else run_synthetic(arguments, contestants)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print_table(rows)
    if not arguments.table:
        summarise(rows)


if __name__ == "__main__":
    main()
