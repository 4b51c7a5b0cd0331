"""The note of a study in optuna-dashboard and in MLflow: its decisions with their reasons, and its result."""

from __future__ import annotations

import optuna
from optuna_dashboard import save_note

from castpool.private_api.optuna_dashboard import note_of
from castpool.sampler_policies.decision import Decision, format_decisions
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy

OURS = "castpool tunes "


def format_note(stored: StoredStudy, outcome: str | None = None) -> str:
    """Return the note as Markdown.

    Args:
        stored: the study.
        outcome: the result in a sentence; None before there is one.
    """
    identity = stored.identity
    lines = [f"{OURS}{identity.get('model')}, {identity.get('horizon')} steps ahead.", ""]
    if outcome is not None:
        lines += [f"**{outcome}**", ""]
    decisions = [Decision.from_json(decision) for decision in stored.plan.get("decisions", ())]
    for line in format_decisions(decisions).splitlines():
        subject, colon, choice = line.partition(": ")
        lines.append(f"    - {line.strip()}" if line.startswith(" ") else f"- **{subject}**{colon}{choice}")
    lines += [f"- warning: {warning}" for warning in stored.plan.get("warnings", ())]
    return "\n".join(lines)


def write_note(store: Store, stored: StoredStudy, outcome: str | None = None) -> None:
    """Keep the note with the study, unless a user has replaced it."""
    attributes = store.trials.get_study_system_attrs(stored.study_id)
    present, wanted = note_of(attributes), format_note(stored, outcome)
    if present == wanted or (present and not present.startswith(OURS)):
        return
    save_note(optuna.load_study(study_name=stored.name, storage=store.trials), wanted)
