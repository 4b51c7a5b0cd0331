"""Studies: an Optuna study, and beside it what castpool made it of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from sqlalchemy import text

from storage import slots
from storage.engine import patiently, transaction
from storage.errors import StudyConflictError, StudyNotFoundError
from storage.store import Store

INSERT = text("""
INSERT INTO castpool_studies (study_id, spec, identity, plan, dataset)
VALUES (:study_id, cast(:spec AS jsonb), cast(:identity AS jsonb), cast(:plan AS jsonb), :dataset)
ON CONFLICT DO NOTHING
""")
FIRST_SLOT = text("""
UPDATE castpool_slots SET params = cast(:params AS jsonb) WHERE study_id = :study_id AND slot = 0 AND attempt = 0
""")
KEEP = text("""
UPDATE castpool_studies SET spec = cast(:spec AS jsonb), plan = cast(:plan AS jsonb) WHERE study_id = :study_id
""")
SELECT = text("""
SELECT s.study_id, s.study_name AS name, c.spec, c.identity, c.plan, c.dataset
  FROM studies s JOIN castpool_studies c USING (study_id) WHERE s.study_name = :name
""")
KEPT = text("SELECT identity FROM castpool_studies WHERE study_id = :study_id FOR UPDATE")
# A bare study may be castpool's own: a crash, or another process, between Optuna's row and castpool's.
FOREIGN = text("""
SELECT EXISTS (SELECT FROM trials t WHERE t.study_id = s.study_id)
    OR EXISTS (SELECT FROM study_user_attributes a WHERE a.study_id = s.study_id)
    OR (SELECT string_agg(d.direction::text, ' ') FROM study_directions d WHERE d.study_id = s.study_id) <> 'MINIMIZE'
  FROM studies s
 WHERE s.study_name = :name AND NOT EXISTS (SELECT FROM castpool_studies c WHERE c.study_id = s.study_id)
""")
SUMMARIES = text("""
SELECT s.study_name AS name, c.created_at, count(sl.slot) AS slots,
       count(sl.ended_at) AS ended
  FROM studies s JOIN castpool_studies c USING (study_id) JOIN castpool_slots sl USING (study_id)
 GROUP BY s.study_name, c.created_at ORDER BY c.created_at DESC
""")


@dataclass(frozen=True)
class StoredStudy:
    """A study as the storage has it. ``identity`` is the part of the spec that gives trials their meaning."""

    study_id: int
    name: str
    spec: Mapping[str, Any]
    identity: Mapping[str, Any]
    plan: Mapping[str, Any]
    dataset: str


@dataclass(frozen=True)
class StudySummary:
    """One line about a study: its budget and how much of it has ended."""

    name: str
    created_at: datetime
    slots: int
    ended: int


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
) -> StoredStudy:
    """Create the study with its slots, or return the one that is there, its budget raised to ``trials``.

    Every statement can be repeated: a crash half way is mended by the same command.

    Raises:
        StudyConflictError: a study of this name whose trials mean something else.
    """
    refuse_conflict(store, name, identity)
    study = optuna.create_study(storage=store.trials, study_name=name, direction="minimize", load_if_exists=True)
    arguments = {"study_id": study._study_id, "dataset": dataset, "trials": trials, "params": json.dumps(first_params)}
    for key, value in {"spec": spec, "identity": identity, "plan": plan}.items():
        arguments[key] = json.dumps(value)

    def write() -> None:
        with transaction(store.engine) as connection:
            if connection.execute(INSERT, arguments).rowcount == 0:
                # Refused once more: somebody may have created another one since it was looked for.
                _refuse_differences(name, connection.execute(KEPT, arguments).scalar_one(), identity)
                connection.execute(KEEP, arguments)
            connection.execute(slots.ADD, arguments)
            if first_params:
                connection.execute(FIRST_SLOT, arguments)

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

    def is_foreign() -> bool:
        with store.engine.connect() as connection:
            return bool(connection.execute(FOREIGN, {"name": name}).scalar())

    if patiently(is_foreign):
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

    def read() -> StoredStudy | None:
        with store.engine.connect() as connection:
            row = connection.execute(SELECT, {"name": name}).mappings().one_or_none()
        return None if row is None else StoredStudy(**row)

    return patiently(read)


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
    unfinished = [own.name for own in summaries if own.ended < own.slots]
    if len(unfinished) > 1:
        raise StudyNotFoundError(f"study: got none, and several are unfinished; write one of {', '.join(unfinished)}.")
    if not summaries:
        raise StudyNotFoundError("study: the storage has none yet; castpool tune makes one.")
    return open_study(store, unfinished[0] if unfinished else summaries[0].name)


def unfinished_studies(store: Store) -> list[StoredStudy]:
    """Return the studies that still have slots, the oldest first."""
    return [open_study(store, own.name) for own in reversed(list_studies(store)) if own.ended < own.slots]


def list_studies(store: Store) -> list[StudySummary]:
    """Return all of castpool's studies in the storage, the latest first."""

    def read() -> list[StudySummary]:
        with store.engine.connect() as connection:
            return [StudySummary(*row) for row in connection.execute(SUMMARIES)]

    return patiently(read)
