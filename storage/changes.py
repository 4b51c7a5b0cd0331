"""What is to be written for one trial, gathered until it goes out in one statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from storage.frozen import stored_value


@dataclass
class Changes:
    """Parameters with their internal values, attributes, reports and final values of one trial, as they came."""

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    values: Sequence[float] = ()

    @classmethod
    def of(cls, trial: FrozenTrial) -> Changes:
        """Return all that a trial has."""
        distributions = trial.distributions
        params = {
            name: (distributions[name].to_internal_repr(own), distributions[name]) for name, own in trial.params.items()
        }
        values = trial.values or ()
        return cls(params, dict(trial.user_attrs), dict(trial.system_attrs), dict(trial.intermediate_values), values)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def apply(self, trial: FrozenTrial) -> None:
        """Change a trial as the tables are changed, but for the final values."""
        for name, (internal, distribution) in self.params.items():
            trial.params[name] = distribution.to_external_repr(internal)
            trial.distributions[name] = distribution
        trial.user_attrs |= self.user_attrs
        trial.system_attrs |= self.system_attrs
        trial.intermediate_values |= self.reports

    def add(self, other: Changes) -> None:
        """Take in what came later, but for the final values."""
        self.params |= other.params
        self.user_attrs |= other.user_attrs
        self.system_attrs |= other.system_attrs
        self.reports |= other.reports

    @property
    def parts(self) -> tuple[str, ...]:
        """What there is to write, for `storage.sql.trials.with_parts`."""
        parts = tuple(own.name for own in fields(self) if getattr(self, own.name))
        return ("report",) if parts == ("reports",) and len(self.reports) == 1 else parts

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `storage.sql.trials.WRITE` and its like, those of missing parts empty."""
        reports = [stored_value(float(own)) for own in self.reports.values()]
        if self.parts == ("report",):
            return {"step": next(iter(self.reports)), "report": reports[0][0], "report_type": reports[0][1]}
        values = [stored_value(float(own)) for own in self.values]
        return {
            "names": list(self.params),
            "internals": [float(internal) for internal, _ in self.params.values()],
            "distributions": [distribution_to_json(own) for _, own in self.params.values()],
            "user_keys": list(self.user_attrs),
            "user_values": [json.dumps(own) for own in self.user_attrs.values()],
            "system_keys": list(self.system_attrs),
            "system_values": [json.dumps(own) for own in self.system_attrs.values()],
            "steps": list(self.reports),
            "reports": [value for value, _ in reports],
            "report_types": [kind for _, kind in reports],
            "objectives": [value for value, _ in values],
            "objective_types": [kind for _, kind in values],
        }
