"""Studies: an Optuna study, and beside it what castpool made it of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import optuna

from storage.engine import patiently, run, transaction
from storage.errors import StudyConflictError, StudyNotFoundError
from storage.sql import slots
from storage.sql import studies as sql
from storage.store import Store


@dataclass(frozen=True)
class StoredStudy:
    """A study as the storage has it. ``identity`` is the part of the spec that gives trials their meaning."""

    study_id: int
    name: str
    spec: Mapping[str, Any]
    identity: Mapping[str, Any]
    plan: Mapping[str, Any]
    dataset: str
    created_at: datetime

    @property
    def key(self) -> str:
        """What no study in another storage has, and no later one of the same name."""
        return f"{self.name} {self.created_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass(frozen=True)
class StudySummary:
    """One line about a study: its budget and how much of it has ended."""

    name: str
    created_at: datetime
    slots: int
    ended: int
    over: str | None

    @property
    def is_done(self) -> bool:
        """Whether every slot has ended, or another budget is spent."""
        return self.ended == self.slots or self.over is not None


def create_or_resume(
    store: Store,
    name: str,
    *,
    spec: Mapping[str, Any],
    identity: Mapping[str, Any],
    plan: Mapping[str, Any],
    dataset: str,
    trials: int,
    first_params: Mapping[str, Any],
    seconds: float | None = None,
    steps: int | None = None,
) -> StoredStudy:
    """Create the study with its slots, or return the one that is there, its budget raised to ``trials``.

    The budgets of working time and of training steps, where there are any, are as asked for last.

    Every statement can be repeated: a crash half way is mended by the same command.

    Raises:
        StudyConflictError: a study of this name whose trials mean something else.
    """
    refuse_conflict(store, name, identity)
    study = optuna.create_study(storage=store.trials, study_name=name, direction="minimize", load_if_exists=True)
    arguments = {"study_id": study._study_id, "dataset": dataset, "trials": trials, "params": json.dumps(first_params)}
    arguments |= {"budget_seconds": seconds, "budget_steps": steps}
    for key, value in {"spec": spec, "identity": identity, "plan": plan}.items():
        arguments[key] = json.dumps(value)

    def write() -> None:
        with transaction(store.engine) as connection:
            if connection.exec_driver_sql(sql.KEEP_NEW, arguments).rowcount == 0:
                # Refused once more: somebody may have created another one since it was looked for.
                _refuse_differences(name, connection.exec_driver_sql(sql.IDENTITY, arguments).scalar_one(), identity)
                connection.exec_driver_sql(sql.KEEP, arguments)
            connection.exec_driver_sql(slots.ADD, arguments)
            if first_params:
                connection.exec_driver_sql(slots.FIRST_PARAMS, arguments)

    patiently(write)
    study.set_user_attr("castpool", {"spec": dict(spec), "decisions": plan.get("decisions", [])})
    return open_study(store, name)


def refuse_conflict(store: Store, name: str, identity: Mapping[str, Any]) -> None:
    """Refuse a name that is taken by a study whose trials mean something else.

    Raises:
        StudyConflictError: with every difference.
    """
    stored = find_study(store, name)
    if stored is not None:
        _refuse_differences(name, stored.identity, identity)
        return
    if run(store.engine, sql.FOREIGN, name=name):
        raise StudyConflictError(f"name: got {name!r}, a study that castpool did not make; write another --name.")


def _refuse_differences(name: str, kept: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    changes = differences(kept, json.loads(json.dumps(identity)))
    if changes:
        raise StudyConflictError(
            f"name: study {name!r} exists and its trials mean something else ({'; '.join(changes)}); write another "
            "--name, or the same as before to resume it."
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what changed from one identity to another, as ``horizon: 12 before, 24 now``."""
    return [
        f"{key}: {_shown(old.get(key))} before, {_shown(new.get(key))} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def find_study(store: Store, name: str) -> StoredStudy | None:
    """Return the study of that name, or None."""
    rows = run(store.engine, sql.FIND, name=name)
    return StoredStudy(**rows[0]._asdict()) if rows else None


def open_study(store: Store, name: str) -> StoredStudy:
    """Return the study of that name.

    Raises:
        StudyNotFoundError: with the names that there are.
    """
    stored = find_study(store, name)
    if stored is None:
        known = ", ".join(own.name for own in list_studies(store)[:10]) or "none yet: castpool tune makes one"
        raise StudyNotFoundError(f"study: got {name!r}, which is not in the storage; the studies there: {known}.")
    return stored


def only_study(store: Store, name: str | None) -> StoredStudy:
    """Return the named study, or without a name the one that still has slots, or the latest.

    Raises:
        StudyNotFoundError: no study of that name, or none at all, or several unfinished ones to choose from.
    """
    if name is not None:
        return open_study(store, name)
    summaries = list_studies(store)
    unfinished = [own.name for own in summaries if not own.is_done]
    if len(unfinished) > 1:
        raise StudyNotFoundError(f"study: got none, and several are unfinished; write one of {', '.join(unfinished)}.")
    if not summaries:
        raise StudyNotFoundError("study: the storage has none yet; castpool tune makes one.")
    return open_study(store, unfinished[0] if unfinished else summaries[0].name)


def unfinished_studies(store: Store) -> list[StoredStudy]:
    """Return the studies that still have slots, the oldest first."""
    return [open_study(store, own.name) for own in reversed(list_studies(store)) if not own.is_done]


def studies_to_serve(store: Store, names: Sequence[str]) -> list[StoredStudy]:
    """Return the named studies, or without names all unfinished ones that any worker can serve.

    Raises:
        StudyNotFoundError: no study of that name, or none at all.
    """
    if names:
        return [open_study(store, name) for name in dict.fromkeys(names)]
    # What was made of Python objects only the Python that made it can serve.
    open_to_all = [own for own in unfinished_studies(store) if not own.plan.get("needs")]
    return open_to_all or [only_study(store, None)]


def list_studies(store: Store) -> list[StudySummary]:
    """Return all of castpool's studies in the storage, the latest first."""
    return [StudySummary(**row._asdict()) for row in run(store.engine, sql.SUMMARIES)]
