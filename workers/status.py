"""How far a study is, in values and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampler_policies.decision import Decision, in_words
from storage import reaper, roster, snapshot
from storage.roster import Present
from storage.snapshot import Snapshot
from storage.store import Store
from storage.studies import StoredStudy, only_study
from workers import measures
from workers.measures import Measure, read_measures
from workers.profile import Profile, read_profile
from workers.progress import summary

SHOWN_RETRIES = 10


@dataclass(frozen=True)
class Status:
    """A study, its trials and the workers that have not left it."""

    stored: StoredStudy
    address: str
    view: Snapshot
    workers: tuple[Present, ...]
    measures: tuple[Measure, ...] = ()
    profile: Profile | None = None


def read_status(store: Store, name: str | None, *, reaps: bool = False, profiles: bool = False) -> Status:
    """Read the state of a study, after its expired leases were ended where that is asked for.

    With ``profiles``, also where its workers' time went.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    stored = only_study(store, name)
    if reaps:
        reaper.reap(store.engine, stored.study_id)
    view = snapshot.take(store.engine, stored.study_id)
    present = tuple(roster.present(store.engine, stored.study_id))
    profile = read_profile(store, stored) if profiles else None
    return Status(stored, store.address, view, present, tuple(read_measures(store, stored)), profile)


def as_values(status: Status) -> dict[str, Any]:
    """Return the status as JSON values."""
    view, counts = status.view, status.view.counts
    running = [own for own in view.trials if own.state == "RUNNING"]
    return {
        "study": status.stored.name,
        "storage": status.address,
        "slots": counts.slots,
        "ended": counts.ended,
        "running": counts.leased,
        "over": counts.over,
        "training_steps": counts.steps,
        "steps_budget": counts.budget_steps,
        "working_seconds": round(counts.seconds, 1),
        "time_budget": counts.budget_seconds,
        **{outcome: view.ended_as(outcome) for outcome in ("complete", "pruned", "diverged", "failed")},
        "attempts": len(view.trials),
        "best": _trial_values(view.best),
        "default_value": view.default.value if view.default is not None else None,
        "trials_running": [_trial_values(own) for own in running],
        "measures": measures.as_values(status.measures),
        **({"profile": status.profile.as_values()} if status.profile is not None else {}),
        "workers": [
            {
                "worker": own.worker_id,
                "host": own.host,
                "pid": own.pid,
                "slot": own.slot,
                "attempt": own.attempt,
                "step": own.step,
                "silent_seconds": round(own.silent_seconds, 1),
            }
            for own in status.workers
        ],
        "retries": [
            {
                "trial": own.number,
                "slot": (own.note or {}).get("slot"),
                "attempt": (own.note or {}).get("attempt"),
                "worker": (own.note or {}).get("worker"),
                "step": own.step,
                "reason": own.reason,
            }
            for own in retried(view)
        ],
    }


def retried(view: Snapshot) -> list[snapshot.TrialView]:
    """Return the attempts that another one has followed, or will."""
    return [own for own in view.trials if own.state == "FAIL" and own.outcome is None and own.note]


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


def as_text(status: Status) -> str:
    """Return the status as a person reads it."""
    lines = [f"study {status.stored.name} in {status.address}", summary(status.view)]
    if status.view.counts.over:
        lines.append(f"over: {status.view.counts.over}")
    lines += measures.as_lines(status.measures)
    lines += status.profile.as_lines() if status.profile is not None else []
    trials = {own.slot: own for own in status.view.trials if own.state == "RUNNING"}
    for own in status.workers:
        doing = "idle"
        if own.slot is not None and own.slot in trials:
            step = max(own.step or 0, trials[own.slot].step or 0)
            doing = f"trial {trials[own.slot].number} (attempt {own.attempt}) at step {step}"
        lines.append(
            f"worker {own.worker_id} ({own.host}, pid {own.pid}): {doing}, last beat {own.silent_seconds:.0f} s ago"
        )
    if tried := retried(status.view):
        lines.append(f"{len(tried)} attempts were followed by another; the last:")
    for attempt in tried[-SHOWN_RETRIES:]:
        note = attempt.note or {}
        place = f"slot {note.get('slot')}, attempt {note.get('attempt')}, trial {attempt.number}"
        lines.append(f"  {place}: {attempt.reason}")
    return "\n".join(lines)


def best_of(store: Store, name: str | None) -> dict[str, Any]:
    """Return the best trial so far: its loss beside the default's, parameters, decisions.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    stored = only_study(store, name)
    view = snapshot.take(store.engine, stored.study_id)
    found: dict[str, Any] = {"study": stored.name, "slots": view.counts.slots, "ended": view.counts.ended}
    if view.best is None:
        return {**found, "trial": None}
    attributes = store.trials.get_trial_user_attrs(view.best.trial_id)
    return {
        **found,
        "trial": view.best.number,
        "value": view.best.value,
        "default_value": view.default.value if view.default is not None else None,
        "step": attributes.get("best_step"),
        "params": store.trials.get_trial_params(view.best.trial_id),
        "config": attributes.get("config", {}),
        "decisions": stored.plan["decisions"],
    }


def best_text(found: Mapping[str, Any]) -> str:
    """Return `best_of` as a person reads it."""
    if found["trial"] is None:
        return f"study {found['study']}: no trial has completed yet ({found['ended']} of {found['slots']} ended)"
    default = f", the default configuration's {found['default_value']:.6g}" if found["default_value"] else ""
    trial = f"trial {found['trial']} has loss {found['value']:.6g} at step {found['step']}"
    lines = [
        f"study {found['study']}: {trial}{default}",
        *(f"  {name}: {value}" for name, value in found["config"].items()),
        in_words(Decision.from_json(own) for own in found["decisions"]),
    ]
    return "\n".join(lines)
