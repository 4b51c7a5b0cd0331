"""The MLflow run of an attempt: parameters, tags, metrics and status, computed from the stored trial alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from castpool import attributes

if TYPE_CHECKING:
    from mlflow.entities import Metric

# Attributes of a trial that become metrics, and those that become tags.
MEASURES = (attributes.MEMORY_PEAK_MB, attributes.GPU_MEMORY_PEAK_MB, attributes.MEMORY_MB)
TAGS = (attributes.SAMPLER, attributes.REASON, attributes.FAILURE, attributes.BEST_STEP)
PLACES = ("slot", "attempt", "worker", "host", "pid", "retry_of")


def trial_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the model's arguments; before the model is built, the sampled parameters."""
    return dict(trial.user_attrs.get(attributes.CONFIG) or trial.params)


def trial_tags(trial: FrozenTrial, dataset: str) -> dict[str, str]:
    """Return worker and host, sampler, reason of the end, hash of the data, versions."""
    place: Mapping[str, Any] = trial.user_attrs.get(attributes.ATTEMPT, {})
    values = {name: place[name] for name in PLACES if place.get(name) is not None}
    values |= {name: trial.user_attrs[name] for name in TAGS if name in trial.user_attrs}
    values |= {"state": trial.state.name.lower(), "data_sha256": dataset}
    values |= {f"version.{name}": version for name, version in trial.user_attrs.get(attributes.VERSIONS, {}).items()}
    return {f"castpool.{name}": str(value) for name, value in values.items()}


def trial_metrics(trial: FrozenTrial, after: int) -> list[Metric]:
    """Return the validation losses after a step; for an ended trial also its loss, durations in seconds and memory."""
    from mlflow.entities import Metric

    began = to_milliseconds(trial.datetime_start)
    reports = sorted(trial.intermediate_values.items())
    metrics = [Metric("validation_loss", loss, began, step) for step, loss in reports if step > after]
    if not trial.state.is_finished():
        return metrics
    last = trial.last_step or 0
    values = trial_durations(trial) | {name: trial.user_attrs[name] for name in MEASURES if name in trial.user_attrs}
    if trial.state == TrialState.COMPLETE and trial.value is not None and math.isfinite(trial.value):
        values["loss"] = trial.value
    return metrics + [Metric(name, float(value), began, last) for name, value in values.items()]


def trial_durations(trial: FrozenTrial) -> dict[str, float]:
    """Return the durations of an ended trial in seconds: total, training, and the rest."""
    if trial.datetime_start is None or trial.datetime_complete is None:
        return {}
    total = (trial.datetime_complete - trial.datetime_start).total_seconds()
    training = trial.user_attrs.get(attributes.TRAINING_SECONDS)
    if training is None:
        return {"duration_total_seconds": total}
    rest = max(0.0, total - training)
    return {
        "duration_total_seconds": total,
        "duration_training_seconds": training,
        "duration_elsewhere_seconds": rest,
    }


def trial_status(trial: FrozenTrial) -> str:
    """Return MLflow's status of an ended trial: pruned is finished; lost or released is killed."""
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return "FINISHED"
    return "FAILED" if attributes.FAILURE in trial.user_attrs else "KILLED"


def to_milliseconds(moment: datetime | None) -> int:
    """Return one of Optuna's times, which are naive and local, in milliseconds since the epoch."""
    return 0 if moment is None else int(moment.timestamp() * 1000)
