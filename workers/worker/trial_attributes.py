"""The attributes of a trial beside its parameters and reports: for users, for the log, for samplers."""

from __future__ import annotations

import math
from typing import Any

import optuna
import psutil

from castpool import attributes
from castpool.private_api.optuna import cached_trial_of, storage_of
from castpool.sampler_policies.samplers.build import sampler_name
from castpool.storage.budget.default_slot import is_default_slot
from castpool.storage.budget.slots import Claim
from castpool.workers.training import memory
from castpool.workers.training.objective import TrainingResult


def best_value(study: optuna.Study) -> float:
    """Return the study's lowest loss so far; infinity before the first complete trial."""
    try:
        return study.best_value
    except ValueError:
        return math.inf


def describe_result(trained: TrainingResult) -> dict[str, Any]:
    """Return the fields of a trial's last log line."""
    ending = trained.ending
    fields = {"outcome": ending.outcome.value, "loss": trained.value, "step": trained.step, "seconds": trained.seconds}
    return {**fields, **({"reason": ending.reason} if ending.reason else {})}


def collect_attributes(trained: TrainingResult) -> dict[str, Any]:
    """Return the user attributes that a trial gets when it ends."""
    found: dict[str, Any] = {attributes.TRAINING_SECONDS: round(trained.seconds, 3)}
    if trained.ending.reason:
        found[attributes.REASON] = trained.ending.reason
    if trained.ending.failure:
        found[attributes.FAILURE] = trained.ending.failure
    if trained.best_step:
        found[attributes.BEST_STEP] = trained.best_step
    if trained.changed:
        found[attributes.REDUCED_FOR_MEMORY] = dict(trained.changed)
    found[attributes.MEMORY_MB] = round(psutil.Process().memory_info().rss / memory.MB)
    return found | memory.peaks()


def find_sampler(study: optuna.Study, trial: optuna.Trial, claim: Claim) -> str:
    """Return the name of the sampler that chose a trial's parameters."""
    if claim.retry_of is not None:
        before = storage_of(study).get_trial(claim.retry_of)
        return str(before.user_attrs.get(attributes.SAMPLER, "unknown"))
    if is_default_slot(claim.slot) and claim.params:
        return "the model's defaults"
    if attributes.FIXED_PARAMS in cached_trial_of(trial).system_attrs:
        return "enqueued"
    return sampler_name(study, cached_trial_of(trial))
