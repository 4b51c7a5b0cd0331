"""The MLflow run of a study: identity as parameters, decisions as a note, progress and result as tags and metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timezone
from typing import TYPE_CHECKING, Any

from castpool.storage.budget.outcome import ENDS_SLOT
from castpool.storage.study.snapshot import Snapshot
from castpool.storage.study.studies import StoredStudy
from castpool.workers.mlflow_tracking.study_result import result_metrics, result_tags
from castpool.workers.planning.study_note import format_note
from castpool.workers.results.result import describe_result

if TYPE_CHECKING:
    from mlflow.entities import Metric


def study_params(stored: StoredStudy) -> dict[str, Any]:
    """Return the identity of the study, which never changes."""
    return {name: value for name, value in stored.identity.items() if value not in (None, [], {})}


def study_tags(stored: StoredStudy, view: Snapshot, best: Mapping[str, Any] | None) -> dict[str, str]:
    """Return budgets, decisions, the number of trials by outcome and the verdict: everything that changes.

    Args:
        stored: the study.
        view: its present state.
        best: the content of ``best.json``; None before there is a result.
    """
    counts = view.counts
    budgets = {"trials": counts.slots, **{budget.kind.field: budget.limit for budget in counts.budgets}}
    values: dict[str, Any] = {name: value for name, value in budgets.items() if value is not None}
    values |= {
        "created_at": stored.created_at.astimezone(timezone.utc).isoformat(),
        "data_sha256": stored.dataset,
        "attempts": len(view.trials),
    }
    values |= {outcome.value: view.ended_as(outcome) for outcome in ENDS_SLOT}
    if view.best is not None:
        values["best_trial"] = view.best.number
    if counts.over:
        values["over"] = counts.over
    tags = {
        f"castpool.{name}": value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
    }
    if best is None:
        return {**tags, "mlflow.note.content": format_note(stored)}
    return {**tags, **result_tags(best), "mlflow.note.content": format_note(stored, describe_result(best))}


def study_metrics(view: Snapshot, best: Mapping[str, Any] | None) -> list[Metric]:
    """Return the loss of each complete trial by its number, the best loss so far, the default's loss, and the verdict.

    Args:
        view: the present state of the study.
        best: the content of ``best.json``; None before there is a result.
    """
    from mlflow.entities import Metric

    def metric(name: str, trial: Any) -> Metric:
        return Metric(name, trial.value, int(trial.ended_at.timestamp() * 1000), trial.number)

    complete = [trial for trial in view.trials if trial.state == "COMPLETE" and trial.value is not None]
    metrics, lowest = [metric("loss", trial) for trial in complete], math.inf
    for trial in sorted(complete, key=lambda trial: (trial.ended_at, trial.number)):
        if trial.value is not None and trial.value < lowest:
            lowest = trial.value
            metrics.append(metric("best_loss", trial))
    if view.default is not None and view.default.value is not None:
        metrics.append(metric("default_loss", view.default))
    return metrics if best is None else [*metrics, *result_metrics(best, view)]
