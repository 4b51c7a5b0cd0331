"""The best configuration of a study as `best.json` keeps it, with the members of the result."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any, NoReturn

from castpool import attributes
from castpool.storage.budget.outcome import Outcome
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.studies import StoredStudy
from castpool.workers.results.members import EvaluatedStudy, Member
from castpool.workers.results.result import NoResultError
from castpool.workers.support.packages import installed_versions


def refuse_without_trial(store: Store, stored: StoredStudy) -> NoReturn:
    """Raise `NoResultError` for a study of which no trial completed, with the reasons."""
    view = snapshot.take(store.engine, stored.study_id)
    reasons = {trial.reason for trial in view.trials if trial.reason}
    why = "; ".join(sorted(reasons)) or "no reason is recorded"
    raise NoResultError(f"none of the {view.counts.slots} trials completed: {why}")


def describe_best(best: EvaluatedStudy, view: snapshot.Snapshot, members: Sequence[Member]) -> dict[str, Any]:
    """Return what ``best.json`` holds, but the verdict.

    Args:
        best: the study of the single best configuration.
        view: the present state of that study.
        members: of the result.
    """
    stored, job = best.stored, best.job
    trial = best.trials.trials[best.winner.trial]
    default = view.default.value if view.default is not None else None
    return {
        "study": stored.name,
        "model": job.model.name,
        "horizon": job.spec.horizon,
        "loss": job.spec.loss,
        "level": list(job.spec.level),
        "reconciliation": job.spec.reconciliation if job.series.hierarchy is not None else None,
        "value": best.winner.value,
        "default_value": default,
        "trial": trial.number,
        "step": best.winner.step,
        "params": trial.params,
        "config": trial.user_attrs.get(attributes.CONFIG, {}),
        "members": [member.to_json() for member in members],
        "selection": best.selection.reason,
        "decisions": [decision.to_json() for decision in job.plan.decisions],
        "trials": {outcome.value: view.ended_as(outcome) for outcome in Outcome if outcome.ends_slot},
        "versions": {"python": platform.python_version(), **installed_versions()},
        "data": {
            "sha256": stored.dataset,
            "series": job.series.n_series,
            "rows": len(job.series.frame),
            "freq": job.series.freq,
        },
        "notes": list(job.series.notes),
    }
