"""Which pruner, and how many trials as a start, find most for the training steps that they cost.

    python -m tests.benchmarks.pruning [--pruners Hyperband SuccessiveHalving Median] [--starts 10 5] [--repeats 5]

Two simulated workers with castpool's Gaussian process and its patience, on the recorded trainings and the synthetic
problems, until so many whole trainings' steps are spent. The best check so far counts, also of a trial that runs, as
castpool counts it at the end of a budget. Printed at shares of the budget: the geometric mean over the problems of the
mean loss, over the first line's.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import optuna

from sampler_policies.decision import Decision
from sampler_policies.pruners import build_pruner
from sampler_policies.resources import choose_patience
from sampler_policies.sampler_builder import build_sampler
from tests.benchmarks.problems import PROBLEMS, Problem
from tests.benchmarks.tables import Recorded

RECORDED = (("air_passengers-NHITS-h12", "NHITS", 12), ("fx_monthly-MLP-h12", "MLP", 12))
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
WORKERS = 2
NAMES = ("Hyperband", "SuccessiveHalving", "Median", "none")


@dataclass(frozen=True)
class Task:
    """One study to simulate, for the steps of ``trainings`` whole trainings."""

    problem: int
    pruner: str
    start: int
    seed: int
    trainings: float


@cache
def problem_of(index: int) -> Problem:
    """Return a problem, the recorded ones first; a surrogate is fitted once a process."""
    if index >= len(RECORDED):
        return PROBLEMS[index - len(RECORDED)]
    name, model, horizon = RECORDED[index]
    return Recorded(Path(__file__).parent / "recorded" / f"{name}.jsonl", model, horizon)


def pruner_of(name: str, problem: Problem) -> optuna.pruners.BasePruner:
    """Return a pruner with castpool's arguments for it."""
    first = problem.val_check_steps
    arguments = {
        "Hyperband": {"min_resource": first, "max_resource": problem.max_steps, "reduction_factor": 3},
        "SuccessiveHalving": {"min_resource": first, "reduction_factor": 3},
        "Median": {"n_startup_trials": 3, "n_warmup_steps": 2 * first},
        "none": {},
    }[name]
    return build_pruner(Decision("pruner", "Nop" if name == "none" else name, "", arguments))


def work(task: Task) -> list[float]:
    """Simulate one study; return its best check at each share of the budget."""
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    problem = problem_of(task.problem)
    phases = [{"sampler": "NumberedQMC", "until": task.start}, {"sampler": "CurveGP"}]
    decision = Decision("sampler", "Phased", "", {"phases": phases})
    patience = int(choose_patience(problem.max_steps, problem.val_check_steps, None).choice)
    rng = np.random.default_rng(task.seed)
    storage, pruner = optuna.storages.InMemoryStorage(), pruner_of(task.pruner, problem)
    name = optuna.create_study(storage=storage).study_name
    studies = [
        optuna.load_study(
            study_name=name,
            storage=storage,
            sampler=build_sampler(decision, task.seed * 10_007 + worker, problem.space.distributions),
            pruner=pruner,
        )
        for worker in range(WORKERS)
    ]
    queue: list[tuple[float, int]] = []  # when which worker has its next check
    running: dict[int, tuple[optuna.Trial, list[tuple[int, float]], int, float]] = {}

    def begin(worker: int, now: float) -> None:
        studies[worker]._thread_local.cached_all_trials = None
        trial = studies[worker].ask()
        pace = float(np.exp(0.3 * rng.standard_normal()))
        running[worker] = (trial, problem.curve(problem.space.suggest(trial), rng), 0, pace)
        heapq.heappush(queue, (now + pace, worker))

    for worker in range(WORKERS):
        begin(worker, 0.01 * worker)
    budget, spent, best, found = task.trainings * problem.max_steps, 0, math.inf, []
    while spent < budget:
        now, worker = heapq.heappop(queue)
        trial, curve, index, pace = running[worker]
        step, value = curve[index]
        trial.report(value, step)
        spent += step - (curve[index - 1][0] if index else 0)
        best = min(best, value)
        while len(found) < len(SHARES) and spent >= SHARES[len(found)] * budget:
            found.append(best)
        values = [own for _, own in curve[: index + 1]]
        is_complete = index == len(curve) - 1 or (0 < patience <= index - int(np.argmin(values)))
        studies[worker]._thread_local.cached_all_trials = None
        if not is_complete and not trial.should_prune():
            running[worker] = (trial, curve, index + 1, pace)
            heapq.heappush(queue, (now + pace, worker))
            continue
        if is_complete:
            studies[worker].tell(trial, min(values))
        else:
            studies[worker].tell(trial, state=optuna.trial.TrialState.PRUNED)
        begin(worker, now)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pruners", nargs="+", choices=NAMES, default=NAMES[:3])
    parser.add_argument("--starts", nargs="+", type=int, default=[10, 5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trainings", type=float, default=10.0, help="the budget, in whole trainings")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    problems = range(len(RECORDED) + len(PROBLEMS))
    variants = list(itertools.product(options.pruners, options.starts))
    tasks = [
        Task(problem, pruner, start, seed, options.trainings)
        for (pruner, start), problem, seed in itertools.product(variants, problems, range(options.repeats))
    ]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        runs = dict(zip(tasks, pool.map(work, tasks), strict=True))
    print(f"| pruner | start | {' | '.join(f'{own:.0%}' for own in SHARES)} |\n|{' --- |' * (2 + len(SHARES))}")
    first: np.ndarray | None = None
    for pruner, start in variants:
        losses = np.array(
            [
                np.mean([runs[Task(own, pruner, start, seed, options.trainings)] for seed in range(options.repeats)], 0)
                for own in problems
            ]
        )
        first = losses if first is None else first
        means = np.exp(np.log(losses / first).mean(axis=0))
        print(f"| {pruner} | {start} | {' | '.join(f'{own:.3f}' for own in means)} |")


if __name__ == "__main__":
    main()
