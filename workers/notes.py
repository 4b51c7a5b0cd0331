"""The note of a study in optuna-dashboard, and in MLflow: decisions with their reasons, and what came of them."""

from __future__ import annotations

import optuna
from optuna_dashboard import save_note
from optuna_dashboard._note import get_note_from_system_attrs

from sampler_policies.decision import Decision, in_words
from storage.store import Store
from storage.studies import StoredStudy

OURS = "castpool tunes "


def note_on(stored: StoredStudy, outcome: str | None = None) -> str:
    """Return the note as Markdown.

    Args:
        stored: the study.
        outcome: a sentence, where there is a result.
    """
    identity = stored.identity
    lines = [f"{OURS}{identity.get('model')}, {identity.get('horizon')} steps ahead.", ""]
    if outcome is not None:
        lines += [f"**{outcome}**", ""]
    for line in in_words(Decision.from_json(own) for own in stored.plan.get("decisions", ())).splitlines():
        subject, found, choice = line.partition(": ")
        lines.append(f"    - {line.strip()}" if line.startswith(" ") else f"- **{subject}**{found}{choice}")
    lines += [f"- warning: {own}" for own in stored.plan.get("warnings", ())]
    return "\n".join(lines)


def write_note(store: Store, stored: StoredStudy, outcome: str | None = None) -> None:
    """Keep the note with the study, unless somebody has written one of their own."""
    attributes = store.trials.get_study_system_attrs(stored.study_id)
    present, wanted = get_note_from_system_attrs(attributes, None)["body"], note_on(stored, outcome)
    if present == wanted or (present and not present.startswith(OURS)):
        return
    save_note(optuna.load_study(study_name=stored.name, storage=store.trials), wanted)
