"""Studies side by side: those whose losses mean the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from storage import snapshot
from storage.store import Store
from storage.studies import StoredStudy, list_studies, open_study

# Two losses can be compared where these parts of a study's identity are the same.
COMPARABLE = ("data", "horizon", "loss", "valid_loss", "val_size", "val_step_size")


@dataclass(frozen=True)
class Standing:
    """How one study stands. ``hours`` are what its trials took in training, all workers together."""

    study: str
    model: str
    value: float | None
    default_value: float | None
    ended: int
    slots: int
    hours: float


@dataclass(frozen=True)
class Group:
    """Studies that can be compared, the best first; ``what`` says what they have in common."""

    what: Mapping[str, Any]
    standings: tuple[Standing, ...]


def read_leaderboard(store: Store) -> list[Group]:
    """Return the storage's studies in groups that can be compared, the group of the latest study first."""
    groups: dict[str, list[StoredStudy]] = {}
    for summary in list_studies(store):
        stored = open_study(store, summary.name)
        common = {key: stored.identity.get(key) for key in COMPARABLE}
        groups.setdefault(json.dumps(common, sort_keys=True), []).append(stored)
    return [Group(json.loads(what), _ranked(store, studies)) for what, studies in groups.items()]


def _ranked(store: Store, studies: Sequence[StoredStudy]) -> tuple[Standing, ...]:
    standings = [_standing(store, own) for own in studies]
    return tuple(sorted(standings, key=lambda own: (own.value is None, own.value or 0.0, own.study)))


def _standing(store: Store, stored: StoredStudy) -> Standing:
    view = snapshot.take(store.engine, stored.study_id)
    seconds = sum(
        (own.ended_at - own.started_at).total_seconds() for own in view.trials if own.started_at and own.ended_at
    )
    return Standing(
        study=stored.name,
        model=str(stored.identity.get("model")),
        value=view.best.value if view.best is not None else None,
        default_value=view.default.value if view.default is not None else None,
        ended=view.counts.ended,
        slots=view.counts.slots,
        hours=seconds / 3600,
    )


def as_values(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the leaderboard as JSON values."""
    return [{**own.what, "studies": [asdict(standing) for standing in own.standings]} for own in groups]


def as_text(groups: Sequence[Group]) -> str:
    """Return the leaderboard as a person reads it."""
    if not groups:
        return "the storage has no studies yet: castpool tune makes one"
    return "\n\n".join("\n".join(_lines(own)) for own in groups)


def _lines(group: Group) -> list[str]:
    what = group.what
    width = max(len(own.study) for own in group.standings)
    loss = what["valid_loss"] or what["loss"]
    head = f"data {what['data'][:8]}, horizon {what['horizon']}, {_named(loss)} of the last {what['val_size']}"
    lines = [head, f"  {'study':{width}}  {'best':>10}  {'default':>10}  {'below it':>8}  {'trials':>9}  {'hours':>6}"]
    for own in group.standings:
        gain = "" if not own.value or not own.default_value else f"{1 - own.value / own.default_value:.1%}"
        trials = f"{own.ended}/{own.slots}"
        lines.append(
            f"  {own.study:{width}}  {_number(own.value):>10}  {_number(own.default_value):>10}  {gain:>8}  "
            f"{trials:>9}  {own.hours:>6.2f}"
        )
    return lines


def _named(loss: Any) -> str:
    return str(loss.get("name", loss)) if isinstance(loss, Mapping) else str(loss)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
