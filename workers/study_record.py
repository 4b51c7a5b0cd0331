"""What MLflow is told of a study: its meaning as parameters, its decisions in words, and how far it is."""

from __future__ import annotations

import json
import math
from datetime import timezone
from typing import TYPE_CHECKING, Any

from storage.snapshot import Snapshot
from storage.studies import StoredStudy
from workers.notes import note_on

if TYPE_CHECKING:
    from mlflow.entities import Metric

OUTCOMES = ("complete", "pruned", "diverged", "failed")


def params_of(stored: StoredStudy) -> dict[str, Any]:
    """Return what gives the trials their meaning, which never changes."""
    return {name: value for name, value in stored.identity.items() if value not in (None, [], {})}


def tags_of(stored: StoredStudy, view: Snapshot) -> dict[str, str]:
    """Return budgets, decisions and how trials have ended: all that changes while a study goes on."""
    counts = view.counts
    budgets = {"trials": counts.slots, "steps_budget": counts.budget_steps, "time_budget": counts.budget_seconds}
    said: dict[str, Any] = {name: value for name, value in budgets.items() if value is not None}
    said |= {
        "created_at": stored.created_at.astimezone(timezone.utc).isoformat(),
        "data_sha256": stored.dataset,
        "attempts": len(view.trials),
    }
    said |= {outcome: view.ended_as(outcome) for outcome in OUTCOMES}
    if view.best is not None:
        said["best_trial"] = view.best.number
    if counts.over:
        said["over"] = counts.over
    tags = {f"castpool.{name}": value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
    return {**tags, "mlflow.note.content": note_on(stored)}


def metrics_of(view: Snapshot) -> list[Metric]:
    """Return the loss of each complete trial by its number, and the best and the default configuration's."""
    from mlflow.entities import Metric

    def metric(name: str, trial: Any) -> Metric:
        return Metric(name, trial.value, int(trial.ended_at.timestamp() * 1000), trial.number)

    complete = [own for own in view.trials if own.state == "COMPLETE" and own.value is not None]
    metrics, best = [metric("loss", own) for own in complete], math.inf
    for own in sorted(complete, key=lambda trial: (trial.ended_at, trial.number)):
        if own.value is not None and own.value < best:
            best = own.value
            metrics.append(metric("best_loss", own))
    if view.default is not None and view.default.value is not None:
        metrics.append(metric("default_loss", view.default))
    return metrics
