"""How many trials samplers need: our policy beside Random, Optuna's default and OptunaHub's AutoSampler.

    python -m tests.benchmarks.samplers [--workers 1 8] [--trials 60] [--repeats 5]
    python -m tests.benchmarks.samplers --table FILE --model NHITS --horizon 24 [--workers 8] [--trials 60]

Without a table, on synthetic functions shaped like NeuralForecast's spaces: trials until the best loss so far is within
the fixed regret that random search reaches at the end, as a mean over repeats. With one, on recorded trainings: best
loss by trials and by training steps. Every sampler gets the same ordered space and no pruning in the first columns;
what pruning adds is shown for our policy's pruner with each sampler.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution

from sampler_policies.facts import BudgetFacts
from sampler_policies.parameter import Parameter
from sampler_policies.pruners import build_pruner, choose_pruner
from sampler_policies.sampler_builder import build_sampler
from sampler_policies.samplers import choose_sampler
from sampler_policies.space import Space
from tests.benchmarks.problems import PROBLEMS, Problem
from tests.benchmarks.simulation import Run, simulate
from tests.benchmarks.tables import Recorded

Maker = Callable[[int], optuna.samplers.BaseSampler]


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


def budget_of(problem: Problem, trials: int, workers: int) -> BudgetFacts:
    """Return what the policies may know of the simulated study."""
    return BudgetFacts(trials, workers, problem.max_steps, problem.val_check_steps)


def maker(name: str, problem: Problem, trials: int, workers: int, seed: int) -> tuple[Maker, Space]:
    """Return how a contestant makes a worker's sampler, and the space that it samples."""
    space, own = problem.space, seed * 10_007
    if name == "castpool":
        decision = choose_sampler(space.facts, budget_of(problem, trials, workers), None, {})
        return lambda worker: build_sampler(decision, own + worker, space.distributions), space
    if name == "Random":
        return lambda worker: optuna.samplers.RandomSampler(seed=own + worker), space
    if name == "Optuna's default":
        return lambda worker: optuna.samplers.TPESampler(seed=own + worker), space
    if name == "Optuna's default, categories":
        return lambda worker: optuna.samplers.TPESampler(seed=own + worker), as_categories(space)
    if name == "GP":
        return lambda worker: optuna.samplers.GPSampler(seed=own + worker), space
    if name == "AutoSampler":
        sampler_class = auto_sampler()
        return lambda worker: sampler_class(seed=own + worker), space
    raise ValueError(name)


def as_categories(space: Space) -> Space:
    """Return the space as NeuralForecast itself hands it to Optuna: every choice a category."""

    def unordered(own: Parameter) -> Parameter:
        if not own.grid():
            return own
        values = own.grid()
        names = [value if isinstance(value, int | float | str) else json.dumps(value) for value in values]
        return Parameter(own.name, "choice", CategoricalDistribution(names), tuple(values))

    return Space(tuple(unordered(own) for own in space.parameters), space.constants)


def auto_sampler() -> Any:
    """Return OptunaHub's AutoSampler, from a copy of its registry at $OPTUNAHUB_REGISTRY or from the network.

    Raises:
        ImportError: the package is missing, or both are.
    """
    try:
        import optunahub  # type: ignore[import-not-found, unused-ignore]

        if registry := os.environ.get("OPTUNAHUB_REGISTRY"):
            return optunahub.load_local_module("samplers/auto_sampler", registry_root=f"{registry}/package").AutoSampler
        return optunahub.load_module("samplers/auto_sampler").AutoSampler
    except Exception as error:
        raise ImportError(str(error)) from error


PROBLEM_OF: dict[tuple[str, str, int], Recorded] = {}


def problem_of(task: Task) -> Problem:
    """Return the task's problem; a table's surrogate is fitted once a process."""
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
    samplers, space = maker(task.contestant, problem, task.trials, task.workers, task.seed)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if task.is_pruned:
        pruner = build_pruner(choose_pruner(budget_of(problem, task.trials, task.workers), None, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return simulate(problem, space, samplers, pruner, task.trials, task.workers, task.seed)


def run_all(tasks: Sequence[Task], processes: int) -> dict[Task, Run]:
    """Simulate all, several at a time, with a line on standard error now and then."""
    done: dict[Task, Run] = {}
    # Spawned, because a fork of a process in which torch has run may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for task, run in zip(tasks, pool.map(work, tasks), strict=True):
            done[task] = run
            if sys.stderr.isatty() or len(done) % 20 == 0:
                print(f"{len(done)} of {len(tasks)} studies", end="\r", file=sys.stderr, flush=True)
    return done


def trials_until(run: Run, target: float) -> float:
    """Return after how many trials the best loss is at the target; one and a half budgets where it never is."""
    return float(next((n for n, best in enumerate(run.best, 1) if best <= target), 1.5 * len(run.best)))


def synthetic(arguments: argparse.Namespace, contestants: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each problem, number of workers and contestant: mean trials to the fixed regret."""
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


def recorded(arguments: argparse.Namespace, contestants: Sequence[str]) -> list[dict[str, Any]]:
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
                own = [
                    run
                    for task, run in runs.items()
                    if (task.workers, task.is_pruned, task.contestant) == (workers, is_pruned, name)
                ]
                whole = arguments.trials * problem.max_steps
                row: dict[str, Any] = {"workers": workers, "pruned": is_pruned, "sampler": name}
                row |= {f"@{mark}": float(np.mean([run.best[mark - 1] for run in own])) for mark in marks}
                row |= {
                    f"steps {share:.0%}": float(np.mean([at_steps(run, share * whole) for run in own]))
                    for share in shares
                }
                row["steps spent"] = float(np.mean([run.steps[-1] for run in own])) / whole
                rows.append(row)
    return rows


def at_steps(run: Run, steps: float) -> float:
    """Return the best loss once so many training steps are spent; the first trial's before."""
    within = [best for best, spent in zip(run.best, run.steps, strict=True) if spent <= steps]
    return within[-1] if within else run.best[0]


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as Markdown."""
    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join("---" for _ in rows[0]) + " |")
    for row in rows:
        print("| " + " | ".join(f"{own:.4g}" if isinstance(own, float) else str(own) for own in row.values()) + " |")


def summarise(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print, for each number of workers, how the policy stands beside the others over all problems."""
    for workers in sorted({row["workers"] for row in rows}):
        by_name: dict[str, list[float]] = {}
        for row in rows:
            if row["workers"] == workers:
                by_name.setdefault(row["sampler"], []).append(row["of_random"])
        means = {name: float(np.exp(np.mean(np.log(own)))) for name, own in by_name.items()}
        listed = ", ".join(f"{name} {mean:.2f}" for name, mean in sorted(means.items(), key=lambda item: item[1]))
        print(f"{workers} worker(s), trials to random search's last loss, over Random's own, geometric mean: {listed}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="JSON lines with config, curve, seconds, error")
    parser.add_argument("--model", default="NHITS", help="whose space the table holds")
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
        auto_sampler()
        contestants.append("AutoSampler")
    except ImportError as error:
        print(f"OptunaHub's AutoSampler is left out: {error}", file=sys.stderr)
    contestants = arguments.samplers or contestants
    rows = recorded(arguments, contestants) if arguments.table else synthetic(arguments, contestants)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print_table(rows)
    if not arguments.table:
        summarise(rows)


if __name__ == "__main__":
    main()
