"""The leaderboard: studies side by side whose losses can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.studies import StoredStudy, list_studies, open_study

# Two losses can be compared if these parts of the studies' identities are equal.
COMPARABLE = ("data", "horizon", "loss", "valid_loss", "val_size", "val_step_size")


@dataclass(frozen=True)
class LeaderboardRow:
    """One study. ``hours`` is the total duration of its trials, over all workers."""

    study: str
    model: str
    value: float | None
    default_value: float | None
    ended: int
    slots: int
    hours: float


@dataclass(frozen=True)
class LeaderboardGroup:
    """Studies that can be compared, the best first; ``common`` is the part of the identity that they share."""

    common: Mapping[str, Any]
    rows: tuple[LeaderboardRow, ...]


def read_leaderboard(store: Store) -> list[LeaderboardGroup]:
    """Return the storage's studies in groups that can be compared; the group of the newest study comes first."""
    groups: dict[str, list[StoredStudy]] = {}
    for summary in list_studies(store):
        stored = open_study(store, summary.name)
        common = {key: stored.identity.get(key) for key in COMPARABLE}
        groups.setdefault(json.dumps(common, sort_keys=True), []).append(stored)
    return [LeaderboardGroup(json.loads(common), _rank(store, studies)) for common, studies in groups.items()]


def _rank(store: Store, studies: Sequence[StoredStudy]) -> tuple[LeaderboardRow, ...]:
    rows = [_read_row(store, study) for study in studies]
    return tuple(sorted(rows, key=lambda row: (row.value is None, row.value or 0.0, row.study)))


def _read_row(store: Store, stored: StoredStudy) -> LeaderboardRow:
    view = snapshot.take(store.engine, stored.study_id)
    seconds = sum(
        (trial.ended_at - trial.started_at).total_seconds()
        for trial in view.trials
        if trial.started_at and trial.ended_at
    )
    return LeaderboardRow(
        study=stored.name,
        model=str(stored.identity.get("model")),
        value=view.best.value if view.best is not None else None,
        default_value=view.default.value if view.default is not None else None,
        ended=view.counts.ended,
        slots=view.counts.slots,
        hours=seconds / 3600,
    )


def leaderboard_values(groups: Sequence[LeaderboardGroup]) -> list[dict[str, Any]]:
    """Return the leaderboard as JSON values."""
    return [{**group.common, "studies": [asdict(row) for row in group.rows]} for group in groups]


def format_leaderboard(groups: Sequence[LeaderboardGroup]) -> str:
    """Return the leaderboard as text: a table for each group."""
    if not groups:
        return "the storage has no studies yet; castpool tune creates one"
    return "\n\n".join("\n".join(_format_group(group)) for group in groups)


def _format_group(group: LeaderboardGroup) -> list[str]:
    common = group.common
    width = max(len(row.study) for row in group.rows)
    loss = common["valid_loss"] or common["loss"]
    data = f"data {common['data'][:8]}, horizon {common['horizon']}"
    head = f"{data}, {_loss_name(loss)} of the last {common['val_size']}"
    lines = [head, f"  {'study':{width}}  {'best':>10}  {'default':>10}  {'below it':>8}  {'trials':>9}  {'hours':>6}"]
    for row in group.rows:
        gain = "" if not row.value or not row.default_value else f"{1 - row.value / row.default_value:.1%}"
        trials = f"{row.ended}/{row.slots}"
        lines.append(
            f"  {row.study:{width}}  {_format_loss(row.value):>10}  {_format_loss(row.default_value):>10}  {gain:>8}  "
            f"{trials:>9}  {row.hours:>6.2f}"
        )
    return lines


def _loss_name(loss: Any) -> str:
    return str(loss.get("name", loss)) if isinstance(loss, Mapping) else str(loss)


def _format_loss(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
