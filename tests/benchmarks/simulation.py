"""A simulated pool of workers on a problem: trials overlap as real ones do, in simulated time."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from castpool.sampler_policies.spaces.space import Space
from tests.benchmarks.problems import Problem

SamplerOf = Callable[[int], optuna.samplers.BaseSampler]


@dataclass(frozen=True)
class Run:
    """The result in the order in which trials ended: the best noiseless loss so far, and the steps so far."""

    best: list[float]
    steps: list[int]


def simulate(
    problem: Problem,
    space: Space,
    samplers: SamplerOf,
    pruner: optuna.pruners.BasePruner,
    trials: int,
    workers: int,
    seed: int,
) -> Run:
    """Run a study of exactly ``trials`` trials by ``workers``, each with its own sampler.

    The noiseless loss of the trial with the best noisy check counts, as with real trainings.
    """
    rng = np.random.default_rng(seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = optuna.storages.InMemoryStorage()
        name = optuna.create_study(storage=storage).study_name
        pool = [
            optuna.load_study(study_name=name, storage=storage, sampler=samplers(number), pruner=pruner)
            for number in range(workers)
        ]
        return _work(problem, space, pool, trials, rng)


def _work(problem: Problem, space: Space, pool: list[optuna.Study], trials: int, rng: np.random.Generator) -> Run:
    # The queue has the time and worker of each next check; the state has trial, curve, position and pace by worker.
    queue: list[tuple[float, int]] = []
    state: dict[int, tuple[optuna.Trial, dict[str, object], list[tuple[int, float]], int, float]] = {}
    begun, spent = 0, 0
    best_seen, best_true = np.inf, np.inf
    run = Run([], [])

    def begin(worker: int, now: float) -> None:
        nonlocal begun
        begun += 1
        study = pool[worker]
        study._thread_local.cached_all_trials = None
        trial = study.ask()
        config = space.suggest(trial)
        pace = float(np.exp(0.3 * rng.standard_normal()))
        state[worker] = (trial, config, problem.curve(config, rng), 0, pace)
        heapq.heappush(queue, (now + pace, worker))

    for worker in range(min(len(pool), trials)):
        begin(worker, 0.01 * worker)
    while queue:
        now, worker = heapq.heappop(queue)
        trial, config, curve, index, pace = state[worker]
        study = pool[worker]
        step, value = curve[index]
        trial.report(value, step)
        spent += step - (curve[index - 1][0] if index else 0)
        is_last = index == len(curve) - 1
        study._thread_local.cached_all_trials = None
        if not is_last and not trial.should_prune():
            state[worker] = (trial, config, curve, index + 1, pace)
            heapq.heappush(queue, (now + pace, worker))
            continue
        best_check = min(loss for _, loss in curve[: index + 1])
        if is_last:
            study.tell(trial, best_check)
            if best_check < best_seen:
                best_seen, best_true = best_check, problem.loss(config)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        run.best.append(float(best_true))
        run.steps.append(spent)
        if begun < trials:
            begin(worker, now)
    return run
