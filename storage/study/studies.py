"""Studies: create, resume, find and list them. A study is an Optuna study with castpool's configuration beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import optuna

from castpool import attributes
from castpool.private_api.optuna import study_id_of
from castpool.storage.budget.kinds import KINDS, read_budgets, why_over
from castpool.storage.budget.phase import Phase
from castpool.storage.connection.engine import retry_during_outage, run, transaction
from castpool.storage.errors import StudyConflictError, StudyNotFoundError
from castpool.storage.sql import slots
from castpool.storage.sql import studies as sql
from castpool.storage.store import Store


@dataclass(frozen=True)
class StoredStudy:
    """A study as the storage has it. ``identity`` is the configuration that all of its trials share."""

    study_id: int
    name: str
    spec: Mapping[str, Any]
    identity: Mapping[str, Any]
    plan: Mapping[str, Any]
    dataset: str
    created_at: datetime

    @property
    def key(self) -> str:
        """A key that is unique among all storages, and among studies of one name in one storage."""
        return f"{self.name} {self.created_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass(frozen=True)
class StudySummary:
    """A study in one line: its slots, how many have ended, and why it is over before all have."""

    name: str
    created_at: datetime
    slots: int
    ended: int
    over: str | None
    phase: Phase | None = None

    @property
    def is_done(self) -> bool:
        """Whether the search is over, and with it the evaluation of its finalists where there is one."""
        return (self.ended == self.slots or self.over is not None) and self.phase in (None, Phase.DONE)


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
    limits: Mapping[str, float | None] | None = None,
    reserved_share: float = 0.0,
    evaluates: bool = False,
) -> StoredStudy:
    """Create the study with its slots, or return the stored one, its budget raised to ``trials``.

    Every statement can be repeated: after a crash half way the same command completes the study.

    Args:
        store: the storage.
        name: the study's name.
        spec: the study spec, as JSON values.
        identity: the part of the spec that all trials of the study share.
        plan: the decisions of the policies, as JSON values.
        dataset: the SHA-256 of the data set, which must be stored.
        trials: the number of slots.
        first_params: the parameters of the first slot, the model's defaults.
        limits: of the other budgets, by the name of their kind; a limit of a former call is replaced.
        reserved_share: the share of each limit that only evaluations may spend.
        evaluates: whether finalists are evaluated after the search.

    Raises:
        StudyConflictError: a study of this name exists with a different configuration.
    """
    refuse_conflict(store, name, identity)
    study = optuna.create_study(storage=store.trials, study_name=name, direction="minimize", load_if_exists=True)
    arguments = {"study_id": study_id_of(study), "dataset": dataset, "trials": trials}
    arguments["params"] = json.dumps(first_params)
    arguments["phase"] = Phase.SEARCH if evaluates else None
    asked = {kind.name: (limits or {}).get(kind.name) for kind in KINDS}
    values = [None if limit is None else float(limit) for limit in asked.values()]
    budgets = {"study_id": study_id_of(study), "kinds": list(asked), "limits": values}
    budgets["reserved_share"] = reserved_share
    for key, value in {"spec": spec, "identity": identity, "plan": plan}.items():
        arguments[key] = json.dumps(value)

    def write() -> None:
        with transaction(store.engine) as connection:
            if connection.exec_driver_sql(sql.KEEP_NEW, arguments).rowcount == 0:
                # Compared once more: another process may have created the study since.
                _refuse_differences(name, connection.exec_driver_sql(sql.IDENTITY, arguments).scalar_one(), identity)
                connection.exec_driver_sql(sql.KEEP, arguments)
            connection.exec_driver_sql(sql.SET_LIMITS, budgets)
            connection.exec_driver_sql(slots.ADD, arguments)
            if first_params:
                connection.exec_driver_sql(slots.FIRST_PARAMS, arguments)
            connection.exec_driver_sql(sql.SEARCH_AGAIN, {**arguments, "phase": Phase.SEARCH})

    retry_during_outage(write)
    study.set_user_attr(attributes.STUDY, {"spec": dict(spec), "decisions": plan.get("decisions", [])})
    return open_study(store, name)


def refuse_conflict(store: Store, name: str, identity: Mapping[str, Any]) -> None:
    """Refuse the name of a study that exists with a different configuration.

    Raises:
        StudyConflictError: its message lists every difference.
    """
    stored = find_study(store, name)
    if stored is not None:
        _refuse_differences(name, stored.identity, identity)
        return
    if run(store.engine, sql.FOREIGN, name=name):
        raise StudyConflictError(f"name: got {name!r}, a study that castpool did not create; write another --name.")


def _refuse_differences(name: str, kept: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    changes = differences(kept, json.loads(json.dumps(identity)))
    if changes:
        raise StudyConflictError(
            f"name: study {name!r} exists with a different configuration ({'; '.join(changes)}); write another "
            "--name, or the same configuration to resume it."
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what changed from one identity to another, as ``horizon: 12 before, 24 now``."""
    return [
        f"{key}: {_format_value(old.get(key))} before, {_format_value(new.get(key))} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _format_value(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def find_study(store: Store, name: str) -> StoredStudy | None:
    """Return the study of that name, or None."""
    rows = run(store.engine, sql.FIND, name=name)
    return StoredStudy(**rows[0]._asdict()) if rows else None


def open_study(store: Store, name: str) -> StoredStudy:
    """Return the study of that name.

    Raises:
        StudyNotFoundError: its message lists the studies of the storage.
    """
    stored = find_study(store, name)
    if stored is None:
        known = ", ".join(study.name for study in list_studies(store)[:10]) or "none yet: castpool tune creates one"
        raise StudyNotFoundError(f"study: got {name!r}, which is not in the storage; the studies there: {known}.")
    return stored


def only_study(store: Store, name: str | None) -> StoredStudy:
    """Return the named study; without a name the only unfinished study, or else the latest.

    Raises:
        StudyNotFoundError: no study of that name, or none at all, or several unfinished ones to choose from.
    """
    if name is not None:
        return open_study(store, name)
    summaries = list_studies(store)
    unfinished = [summary.name for summary in summaries if not summary.is_done]
    if len(unfinished) > 1:
        raise StudyNotFoundError(f"study: got none, and several are unfinished; write one of {', '.join(unfinished)}.")
    if not summaries:
        raise StudyNotFoundError("study: the storage has none yet; castpool tune creates one.")
    return open_study(store, unfinished[0] if unfinished else summaries[0].name)


def unfinished_studies(store: Store) -> list[StoredStudy]:
    """Return the unfinished studies, the oldest first."""
    return [open_study(store, summary.name) for summary in reversed(list_studies(store)) if not summary.is_done]


def studies_to_serve(store: Store, names: Sequence[str]) -> list[StoredStudy]:
    """Return the named studies; without names all unfinished studies that any worker can serve.

    Raises:
        StudyNotFoundError: no study of that name, or none at all.
    """
    if names:
        return [open_study(store, name) for name in dict.fromkeys(names)]
    # Python objects are not stored, so only the program that created such a study can serve it.
    open_to_all = [study for study in unfinished_studies(store) if not study.plan.get("needs")]
    return open_to_all or [only_study(store, None)]


def list_studies(store: Store) -> list[StudySummary]:
    """Return all of castpool's studies in the storage, the latest first."""
    return [
        StudySummary(
            row.name,
            row.created_at,
            row.slots,
            row.ended,
            why_over(row.stopped, read_budgets(row.budgets)),
            Phase(row.phase) if row.phase else None,
        )
        for row in run(store.engine, sql.SUMMARIES)
    ]
