"""The private parts of optuna-dashboard that castpool uses. Importing this module does not import the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from castpool.private_api.door import Door

LIBRARY = "optuna-dashboard"

DOORS = (
    Door(
        "optuna_dashboard._note",
        "get_note_from_system_attrs",
        "overwrites notes that users wrote into the dashboard",
    ),
)

# castpool overrides nothing private of the dashboard.
HOOKS: tuple[Door, ...] = ()


def note_of(system_attrs: Mapping[str, Any]) -> str:
    """Return the note of a study from its system attributes; empty if it has none."""
    from optuna_dashboard._note import get_note_from_system_attrs

    return str(get_note_from_system_attrs(dict(system_attrs), None)["body"])
