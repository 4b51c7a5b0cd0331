"""The cost of one trial: statements on the server, and milliseconds inside the storage."""

from __future__ import annotations

import functools
import os
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

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.rules.choose_pruner import build_pruner
from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import slots, worker_registry
from castpool.storage.files import datasets
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store
from castpool.storage.study.studies import create_or_resume

N_PARAMS, N_REPORTS = 8, 10
SPACE = {f"x{number}": FloatDistribution(0.0, 1.0) for number in range(N_PARAMS)}
PRUNERS: dict[str, dict[str, Any]] = {
    "Nop": {},
    "Median": {"n_startup_trials": 4},
    "Hyperband": {"min_resource": 1, "max_resource": N_REPORTS, "reduction_factor": 3},
}


@dataclass
class Clock:
    """The time in calls of a storage from outside, without its calls of its own methods."""

    seconds: float = 0.0
    depth: int = field(default=0, repr=False)

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, timed."""

        @functools.wraps(call)
        def timed_call(*arguments: Any, **named: Any) -> Any:
            self.depth += 1
            started = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.seconds += time.perf_counter() - started

        return timed_call


@contextmanager
def time_calls(storage: BaseStorage) -> Iterator[Clock]:
    """Time all public calls of this storage, and claims of slots, until the block ends."""
    clock = Clock()
    names = [name for name in dir(storage) if not name.startswith("_") and callable(getattr(storage, name))]
    claim = slots.claim
    for name in names:
        setattr(storage, name, clock.wrap(getattr(storage, name)))
    slots.claim = clock.wrap(claim)
    try:
        yield clock
    finally:
        slots.claim = claim
        for name in names:
            delattr(storage, name)


def make_reports(params: dict[str, float], chance: random.Random) -> list[float]:
    """Return the losses that a trial reports: falling, the lower the nearer its parameters are to the middle."""
    loss = sum((value - 0.5) ** 2 for value in params.values())
    return [loss + 1.0 / (step + 1) + chance.gauss(0, 0.02) for step in range(N_REPORTS)]


def make_trial(chance: random.Random) -> FrozenTrial:
    """Return an ended trial; half of them are pruned."""
    params = {name: chance.random() for name in SPACE}
    curve = make_reports(params, chance)
    length = N_REPORTS if chance.random() < 0.5 else chance.choice([1, 3, 9])
    rungs = {f"completed_rung_{rung}": curve[step - 1] for rung, step in enumerate((1, 3, 9)) if step <= length}
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if length == N_REPORTS else TrialState.PRUNED,
        params=params,
        distributions=dict(SPACE),
        value=curve[length - 1],
        intermediate_values=dict(enumerate(curve[:length], start=1)),
        system_attrs=rungs,
        user_attrs={"config": {"size": 64, "rate": 0.001}, "training_seconds": 1.5},
    )


def create_with_slots(store: Store, name: str, budget: int) -> int:
    """Create a study with a budget of slots and return its id."""
    sha256 = datasets.put(store.engine, b"no data")
    identity = {"benchmark": "storage"}
    stored = create_or_resume(
        store, name, spec={}, identity=identity, plan={}, dataset=sha256, trials=budget, first_params={}
    )
    return stored.study_id


def fill(storage: BaseStorage, study_id: int, trials: int) -> None:
    """Create so many ended trials."""
    chance = random.Random(0)
    for _ in range(trials):
        storage.create_new_trial(study_id, template_trial=make_trial(chance))


class Plain:
    """Trials as a script on plain Optuna runs them, by ask and tell."""

    def __init__(self, storage: BaseStorage, study: optuna.Study) -> None:
        self.study = study

    def begin(self) -> optuna.Trial:
        """Ask for a trial."""
        return self.study.ask()

    def finish_sampling(self, trial: optuna.Trial) -> None:
        """Write nothing."""

    def end(self, trial: optuna.Trial, state: TrialState, value: float | None) -> None:
        """Tell how it ended."""
        self.study.tell(trial, value, state=state)


class InSlots(Plain):
    """Trials as castpool's workers run them: they claim a slot, store configuration and outcome, and end the slot."""

    def __init__(self, storage: PoolStorage, study: optuna.Study) -> None:
        super().__init__(storage, study)
        self._engine = storage.engine
        self._worker = worker_registry.join(self._engine, study._study_id, "here", os.getpid())

    def begin(self) -> optuna.Trial:
        """Claim a slot and begin its trial."""
        claim = slots.claim(self._engine, self.study._study_id, self._worker)
        assert claim is not None
        self._claim = claim
        return begin_trial(self.study, claim, {"worker": self._worker})

    def finish_sampling(self, trial: optuna.Trial) -> None:
        """Store the configuration."""
        trial.set_user_attr("config", {"size": 64, "rate": 0.001})

    def end(self, trial: optuna.Trial, state: TrialState, value: float | None) -> None:
        """End trial and slot."""
        attrs = {"training_seconds": 1.5}
        end_trial(self.study, trial, self._claim, state, value, outcome=state.name.lower(), user_attrs=attrs)


def load(storage: BaseStorage, name: str, pruner: str, *, seed: int = 0) -> Plain:
    """Return the study as a worker has it: TPE, and the pruner that castpool or a user of plain Optuna builds."""
    arguments, is_ours = PRUNERS[pruner], isinstance(storage, PoolStorage)
    plain: BasePruner = getattr(optuna.pruners, f"{pruner}Pruner")(**arguments)
    chosen = build_pruner(Decision("pruner", pruner, "", arguments)) if is_ours else plain
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=chosen)
    return InSlots(storage, study) if isinstance(storage, PoolStorage) else Plain(storage, study)


def run_trials(worker: Plain, trials: int, seed: int = 0) -> None:
    """Run trials as a worker does, one after the other."""
    chance = random.Random(seed)
    for _ in range(trials):
        trial = worker.begin()
        params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
        worker.finish_sampling(trial)
        state, value = TrialState.COMPLETE, 0.0
        for step, value in enumerate(make_reports(params, chance), start=1):
            trial.report(value, step)
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        worker.end(trial, state, value if state == TrialState.COMPLETE else None)
