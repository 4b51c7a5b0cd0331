"""What is noted of an attempt beside its parameters and reports: for people, for the log, for samplers."""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import version
from typing import Any

import optuna
import psutil

from sampler_policies.sampler_builder import sampler_name
from storage.slots import Claim
from workers import memory
from workers.objective import Trained

PACKAGES = ("castpool", "neuralforecast", "optuna", "torch", "pytorch-lightning")


def best_value(study: optuna.Study) -> float:
    """Return the lowest loss so far."""
    try:
        return study.best_value
    except ValueError:
        return math.inf


def said(trained: Trained) -> dict[str, Any]:
    """Return what the log says of it."""
    ending = trained.ending
    words = {"outcome": ending.outcome, "loss": trained.value, "step": trained.step, "seconds": trained.seconds}
    return {**words, **({"reason": ending.reason} if ending.reason else {})}


def notes(trained: Trained) -> dict[str, Any]:
    """Return the attributes with which it ends."""
    kept: dict[str, Any] = {"training_seconds": round(trained.seconds, 3)}
    if trained.ending.reason:
        kept["reason"] = trained.ending.reason
    if trained.ending.failure:
        kept["failure"] = trained.ending.failure
    if trained.best_step:
        kept["best_step"] = trained.best_step
    if trained.changed:
        kept["for_want_of_memory"] = dict(trained.changed)
    kept["memory_mb"] = round(psutil.Process().memory_info().rss / memory.MB)
    return kept | memory.peaks()


@cache
def versions() -> dict[str, str]:
    """Return the versions of what trains here: a pool may be of several."""
    return {name: version(name) for name in PACKAGES}


def sampled_by(study: optuna.Study, trial: optuna.Trial, claim: Claim) -> str:
    """Return who chose the trial's parameters."""
    if claim.retry_of is not None:
        before = study._storage.get_trial(claim.retry_of)
        return str(before.user_attrs.get("sampler", "unknown"))
    if claim.params:
        return "the model's defaults"
    if "fixed_params" in trial._cached_frozen_trial.system_attrs:
        return "enqueued"
    return sampler_name(study, trial._cached_frozen_trial)
