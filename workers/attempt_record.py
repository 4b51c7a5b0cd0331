"""What MLflow is told of an attempt: parameters, tags, metrics, and how it ended. Pure: a trial in, values out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from mlflow.entities import Metric

# Attributes of a trial that are measures of it, and those that say something about it.
MEASURES = ("memory_peak_mb", "gpu_memory_peak_mb", "memory_mb")
WORDS = ("sampler", "reason", "failure", "best_step")
PLACES = ("slot", "attempt", "worker", "host", "pid", "retry_of")


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the arguments that the model was given; before it was built, what was sampled."""
    return dict(trial.user_attrs.get("config") or trial.params)


def tags_of(trial: FrozenTrial, dataset: str) -> dict[str, str]:
    """Return who worked on it where, how it was sampled, why it ended, the data's hash, versions."""
    place: Mapping[str, Any] = trial.user_attrs.get("castpool", {})
    said = {name: place[name] for name in PLACES if place.get(name) is not None}
    said |= {name: trial.user_attrs[name] for name in WORDS if name in trial.user_attrs}
    said |= {"state": trial.state.name.lower(), "data_sha256": dataset}
    said |= {f"version.{name}": own for name, own in trial.user_attrs.get("versions", {}).items()}
    return {f"castpool.{name}": str(value) for name, value in said.items()}


def metrics_of(trial: FrozenTrial, after: int) -> list[Metric]:
    """Return every check's loss past a step, and of a trial that has ended its loss, durations in seconds, memory."""
    from mlflow.entities import Metric

    began = milliseconds(trial.datetime_start)
    reports = sorted(trial.intermediate_values.items())
    metrics = [Metric("validation_loss", own, began, step) for step, own in reports if step > after]
    if not trial.state.is_finished():
        return metrics
    last = trial.last_step or 0
    values = durations(trial) | {name: trial.user_attrs[name] for name in MEASURES if name in trial.user_attrs}
    if trial.state == TrialState.COMPLETE and trial.value is not None and math.isfinite(trial.value):
        values["loss"] = trial.value
    return metrics + [Metric(name, float(own), began, last) for name, own in values.items()]


def durations(trial: FrozenTrial) -> dict[str, float]:
    """Return how long it took, and how much of that was building, training and validating."""
    if trial.datetime_start is None or trial.datetime_complete is None:
        return {}
    total = (trial.datetime_complete - trial.datetime_start).total_seconds()
    training = trial.user_attrs.get("training_seconds")
    if training is None:
        return {"duration_total_seconds": total}
    rest = max(0.0, total - training)
    return {
        "duration_total_seconds": total,
        "duration_training_seconds": training,
        "duration_elsewhere_seconds": rest,
    }


def status_of(trial: FrozenTrial) -> str:
    """Return MLflow's word for how it ended. Pruned is finished; lost or handed back, killed."""
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return "FINISHED"
    return "FAILED" if "failure" in trial.user_attrs else "KILLED"


def milliseconds(moment: datetime | None) -> int:
    """Return one of Optuna's times, which are naive and local, as MLflow counts them."""
    return 0 if moment is None else int(moment.timestamp() * 1000)
