"""Names that castpool no longer uses, each with the current one: stored plans and older commands contain them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSES = {"NumberedQMC": "IndexedQMC", "StandingHalving": "DemotingHalving"}
ARGUMENTS = {"weighs_time": "is_cost_aware"}
OPTIMIZATIONS = {"weighed-time": "cost-aware"}
# The keys under which a decision, a phase and a wrapped pruner name their class.
CLASS_KEYS = ("choice", "sampler", "name")


def with_current_names(stored: Any) -> Any:
    """Return JSON values of a decision with current names of classes and arguments in place of legacy ones."""
    if isinstance(stored, Mapping):
        return {
            ARGUMENTS.get(key, key): CLASSES.get(value, value)
            if key in CLASS_KEYS and isinstance(value, str)
            else with_current_names(value)
            for key, value in stored.items()
        }
    if isinstance(stored, list | tuple):
        return [with_current_names(value) for value in stored]
    return stored
