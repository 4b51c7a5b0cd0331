"""The status of a study: budget, workers and retries, and its best trial; as JSON values and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from castpool import attributes
from castpool.sampler_policies.decision import Decision, format_decisions
from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.budget.outcome import ENDS_SLOT
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.worker_registry import ActiveWorker
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.snapshot import Snapshot
from castpool.storage.study.studies import StoredStudy, only_study
from castpool.workers.monitoring.progress import summarize_study
from castpool.workers.monitoring.run_metrics import Measure, format_measures, measure_values, read_measures
from castpool.workers.monitoring.time_profile import Profile, read_profile

SHOWN_RETRIES = 10


@dataclass(frozen=True)
class Status:
    """A study, its trials and its present workers."""

    stored: StoredStudy
    address: str
    view: Snapshot
    workers: tuple[ActiveWorker, ...]
    measures: tuple[Measure, ...] = ()
    profile: Profile | None = None


def read_status(store: Store, name: str | None, *, reaps: bool = False, profiles: bool = False) -> Status:
    """Read the state of a study.

    Args:
        store: contains the study.
        name: the study; None is the only one.
        reaps: first open the slots whose leases have expired.
        profiles: also read the time profile of its workers.

    Raises:
        StudyNotFoundError: no study has that name.
    """
    stored = only_study(store, name)
    if reaps:
        reaper.reap(store.engine, stored.study_id)
    view = snapshot.take(store.engine, stored.study_id)
    workers = tuple(worker_registry.present(store.engine, stored.study_id))
    profile = read_profile(store, stored) if profiles else None
    return Status(stored, store.address, view, workers, tuple(read_measures(store, stored)), profile)


def status_values(status: Status) -> dict[str, Any]:
    """Return the status as JSON values."""
    view, counts = status.view, status.view.counts
    running = [trial for trial in view.trials if trial.state == "RUNNING"]
    return {
        "study": status.stored.name,
        "storage": status.address,
        "slots": counts.slots,
        "ended": counts.ended,
        "running": counts.leased,
        "over": counts.over,
        "phase": counts.phase,
        "evaluations": counts.evaluations,
        "evaluated": counts.evaluated,
        **{budget.kind.spent_name: budget.kind.round(budget.spent) for budget in counts.budgets},
        **{budget.kind.field: budget.limit for budget in counts.budgets},
        **{outcome.value: view.ended_as(outcome) for outcome in ENDS_SLOT},
        "attempts": len(view.trials),
        "best": _trial_values(view.best),
        "default_value": view.default.value if view.default is not None else None,
        "trials_running": [_trial_values(trial) for trial in running],
        "measures": measure_values(status.measures),
        **({"profile": status.profile.to_json()} if status.profile is not None else {}),
        "workers": [
            {
                "worker": worker.worker_id,
                "host": worker.host,
                "pid": worker.pid,
                "slot": worker.slot,
                "attempt": worker.attempt,
                "step": worker.step,
                "silent_seconds": round(worker.silent_seconds, 1),
            }
            for worker in status.workers
        ],
        "retries": [
            {
                "trial": trial.number,
                "slot": (trial.note or {}).get("slot"),
                "attempt": (trial.note or {}).get("attempt"),
                "worker": (trial.note or {}).get("worker"),
                "step": trial.step,
                "reason": trial.reason,
            }
            for trial in retried_attempts(view)
        ],
    }


def retried_attempts(view: Snapshot) -> list[snapshot.TrialView]:
    """Return the attempts whose slots are tried again: lost, released, or failed for a reason that may pass."""
    return [trial for trial in view.trials if trial.state == "FAIL" and trial.outcome is None and trial.note]


def _trial_values(trial: snapshot.TrialView | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "trial": trial.number,
        "slot": trial.slot,
        "step": trial.step,
        "value": trial.value if trial.state == "COMPLETE" else trial.last_value,
        "worker": (trial.note or {}).get("worker"),
    }


def format_status(status: Status) -> str:
    """Return the status as text."""
    lines = [f"study {status.stored.name} in {status.address}", summarize_study(status.view)]
    if status.view.counts.over:
        lines.append(f"over: {status.view.counts.over}")
    lines += format_measures(status.measures)
    lines += status.profile.format_lines() if status.profile is not None else []
    running = {trial.slot: trial for trial in status.view.trials if trial.state == "RUNNING"}
    lines += [_format_worker(worker, running) for worker in status.workers]
    if retried := retried_attempts(status.view):
        lines.append(f"attempts retried: {len(retried)}; the last:")
    for attempt in retried[-SHOWN_RETRIES:]:
        note = attempt.note or {}
        place = f"slot {note.get('slot')}, attempt {note.get('attempt')}, trial {attempt.number}"
        lines.append(f"  {place}: {attempt.reason}")
    return "\n".join(lines)


def _format_worker(worker: ActiveWorker, running: Mapping[int | None, snapshot.TrialView]) -> str:
    """Return the line of a worker; ``running`` are the running trials by their slots."""
    activity = "idle"
    if worker.slot is not None and worker.slot in running:
        trial = running[worker.slot]
        step = max(worker.step or 0, trial.step or 0)
        activity = f"trial {trial.number} (attempt {worker.attempt}) at step {step}"
    elif worker.slot is not None and worker.kind in (Phase.VERIFICATION, Phase.HOLDOUT, Phase.BACKTEST):
        activity = f"{worker.kind}, evaluation {worker.slot - slots.FIRST_EVALUATION} at step {worker.step or 0}"
    name = f"worker {worker.worker_id} ({worker.host}, pid {worker.pid})"
    return f"{name}: {activity}, last heartbeat {worker.silent_seconds:.0f} s ago"


def read_best(store: Store, name: str | None) -> dict[str, Any]:
    """Return the best trial so far: its loss beside the default's, parameters, decisions.

    Raises:
        StudyNotFoundError: no study has that name.
    """
    stored = only_study(store, name)
    view = snapshot.take(store.engine, stored.study_id)
    best: dict[str, Any] = {"study": stored.name, "slots": view.counts.slots, "ended": view.counts.ended}
    if view.best is None:
        return {**best, "trial": None}
    user_attrs = store.trials.get_trial_user_attrs(view.best.trial_id)
    return {
        **best,
        "trial": view.best.number,
        "value": view.best.value,
        "default_value": view.default.value if view.default is not None else None,
        "step": user_attrs.get(attributes.BEST_STEP),
        "params": store.trials.get_trial_params(view.best.trial_id),
        "config": user_attrs.get(attributes.CONFIG, {}),
        "decisions": stored.plan["decisions"],
    }


def format_best(best: Mapping[str, Any]) -> str:
    """Return the values of `read_best` as text."""
    if best["trial"] is None:
        return f"study {best['study']}: no trial has completed yet ({best['ended']} of {best['slots']} ended)"
    default = f", the default configuration's {best['default_value']:.6g}" if best["default_value"] else ""
    trial = f"trial {best['trial']} has loss {best['value']:.6g} at step {best['step']}"
    lines = [
        f"study {best['study']}: {trial}{default}",
        *(f"  {name}: {value}" for name, value in best["config"].items()),
        format_decisions(Decision.from_json(decision) for decision in best["decisions"]),
    ]
    return "\n".join(lines)
