"""What one trial costs: statements on the server, and milliseconds inside the storage."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sampler_policies.decision import Decision
from sampler_policies.pruners import build_pruner

N_PARAMS, N_REPORTS = 8, 10
SPACE = {f"x{own}": FloatDistribution(0.0, 1.0) for own in range(N_PARAMS)}
PRUNERS: dict[str, dict[str, Any]] = {
    "Nop": {},
    "Median": {"n_startup_trials": 4},
    "Hyperband": {"min_resource": 1, "max_resource": N_REPORTS, "reduction_factor": 3},
}


@dataclass
class Clock:
    """The time spent in calls of a storage from outside, not counting those that it makes to itself."""

    seconds: float = 0.0
    depth: int = field(default=0, repr=False)

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, timed."""

        @functools.wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.depth += 1
            started = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.seconds += time.perf_counter() - started

        return timed


@contextmanager
def timed(storage: BaseStorage) -> Iterator[Clock]:
    """Time all public calls of this storage until the block ends."""
    clock, names = Clock(), [own for own in dir(storage) if not own.startswith("_") and callable(getattr(storage, own))]
    for name in names:
        setattr(storage, name, clock.wrap(getattr(storage, name)))
    try:
        yield clock
    finally:
        for name in names:
            delattr(storage, name)


def reports(params: dict[str, float], chance: random.Random) -> list[float]:
    """Return the losses that a trial reports: falling, the lower the nearer its parameters are to the middle."""
    loss = sum((own - 0.5) ** 2 for own in params.values())
    return [loss + 1.0 / (step + 1) + chance.gauss(0, 0.02) for step in range(N_REPORTS)]


def made_up_trial(chance: random.Random) -> FrozenTrial:
    """Return an ended trial as such a study has them; every other one was pruned on its way."""
    params = {name: chance.random() for name in SPACE}
    curve = reports(params, chance)
    length = N_REPORTS if chance.random() < 0.5 else chance.choice([1, 3, 9])
    rungs = {f"completed_rung_{own}": curve[step - 1] for own, step in enumerate((1, 3, 9)) if step <= length}
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if length == N_REPORTS else TrialState.PRUNED,
        params=params,
        distributions=dict(SPACE),
        value=curve[length - 1],
        intermediate_values=dict(enumerate(curve[:length], start=1)),
        system_attrs=rungs,
        user_attrs={"config": {"size": 64, "rate": 0.001}, "training_seconds": 1.5},
    )


def fill(storage: BaseStorage, name: str, trials: int) -> None:
    """Create a study of so many ended trials."""
    chance = random.Random(0)
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], name)
    for _ in range(trials):
        storage.create_new_trial(study_id, template_trial=made_up_trial(chance))


def load(storage: BaseStorage, name: str, pruner: str, *, is_ours: bool, seed: int = 0) -> optuna.Study:
    """Return the study as a worker has it: TPE, and the pruner that castpool or a user of plain Optuna builds."""
    arguments = PRUNERS[pruner]
    plain: BasePruner = getattr(optuna.pruners, f"{pruner}Pruner")(**arguments)
    chosen = build_pruner(Decision("pruner", pruner, "", arguments)) if is_ours else plain
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=chosen)


def run_trials(study: optuna.Study, trials: int, seed: int = 0) -> int:
    """Run trials as a worker does, one after the other; return how many reports they made."""
    chance, n_reports = random.Random(seed), 0
    for _ in range(trials):
        trial = study.ask()
        params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
        state, value = TrialState.COMPLETE, 0.0
        for step, value in enumerate(reports(params, chance), start=1):
            trial.report(value, step)
            n_reports += 1
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    return n_reports
