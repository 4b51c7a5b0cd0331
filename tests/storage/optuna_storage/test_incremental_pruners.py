"""The incremental pruners decide as Optuna's on many kinds of studies, and read only new trials."""

from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import TrialState

from castpool.sampler_policies.pruners.incremental import INCREMENTAL
from castpool.storage.store import Store

# castpool's workers renew leases in place of Optuna's heartbeat; numpy warns of infinities, with Optuna's pruners too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Heartbeat of storage"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

PRUNERS: dict[str, tuple[type[BasePruner], dict[str, Any]]] = {
    "Median": (MedianPruner, {"n_startup_trials": 2, "n_warmup_steps": 1}),
    "Median, every third step": (MedianPruner, {"n_startup_trials": 0, "interval_steps": 3, "n_min_trials": 3}),
    "Percentile": (PercentilePruner, {"percentile": 25.0, "n_startup_trials": 1}),
    "SuccessiveHalving": (SuccessiveHalvingPruner, {"min_resource": 1, "reduction_factor": 2}),
    "SuccessiveHalving, later": (
        SuccessiveHalvingPruner,
        {"min_resource": 1, "reduction_factor": 3, "min_early_stopping_rate": 1, "bootstrap_count": 2},
    ),
    "SuccessiveHalving, auto": (SuccessiveHalvingPruner, {}),
    "Hyperband": (HyperbandPruner, {"min_resource": 1, "max_resource": 9, "reduction_factor": 3}),
    "Hyperband, halving": (HyperbandPruner, {"min_resource": 2, "max_resource": 9, "reduction_factor": 2}),
}


def decisions(storage: Any, pruner: BasePruner, direction: str, seed: int) -> list[tuple[int, int, bool]]:
    """Let four workers report in turn, and return the pruner's decision on each report."""
    chance, made = random.Random(seed), []
    study = optuna.create_study(storage=storage, study_name=f"{direction} {seed}", direction=direction, pruner=pruner)
    running: list[tuple[optuna.Trial, int, float]] = []
    for turn in range(220):
        if len(running) < 4 and turn < 160:
            running.append((study.ask(), 0, chance.random()))
        if not running:
            break
        trial, step, level = running.pop(chance.randrange(len(running)))
        step += 1
        value = chance.choice([math.nan, math.inf]) if chance.random() < 0.04 else round(level + 1 / step, 1)
        trial.report(value, step)
        is_pruned = trial.should_prune()
        made.append((trial.number, step, is_pruned))
        if is_pruned:
            study.tell(trial, state=TrialState.PRUNED)
        elif chance.random() < 0.02:
            study.tell(trial, state=TrialState.FAIL)
        elif step == 9:
            study.tell(trial, value if not math.isnan(value) else 1.0)
        else:
            running.append((trial, step, level))
    return made


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("name", PRUNERS)
def test_they_decide_as_optunas_own(store: Store, name: str, direction: str) -> None:
    cls, arguments = PRUNERS[name]
    pruned = 0
    for seed in range(3):
        expected = decisions(optuna.storages.InMemoryStorage(), cls(**arguments), direction, seed)
        pruner = INCREMENTAL[cls](**arguments)
        assert decisions(store.trials, pruner, direction, seed) == expected
        pruned += sum(is_pruned for _, _, is_pruned in expected)
    assert pruned > 5


@pytest.mark.parametrize("name", PRUNERS)
def test_on_another_storage_they_are_optunas_own(name: str) -> None:
    cls, arguments = PRUNERS[name]
    expected = decisions(optuna.storages.InMemoryStorage(), cls(**arguments), "minimize", 0)

    assert decisions(optuna.storages.InMemoryStorage(), INCREMENTAL[cls](**arguments), "minimize", 0) == expected
