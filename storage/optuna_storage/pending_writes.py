"""Pending writes of one trial, gathered until they are sent in one statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from castpool.storage.optuna_storage.row_mapping import encode_value


@dataclass
class PendingWrites:
    """Parameters with their internal values, attributes, reports and final values of one trial, in order of arrival."""

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    values: Sequence[float] = ()

    @classmethod
    def of(cls, trial: FrozenTrial) -> PendingWrites:
        """Return the writes that make a trial equal to this one."""
        distributions = trial.distributions
        params = {
            name: (distributions[name].to_internal_repr(value), distributions[name])
            for name, value in trial.params.items()
        }
        values = trial.values or ()
        return cls(params, dict(trial.user_attrs), dict(trial.system_attrs), dict(trial.intermediate_values), values)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def apply(self, trial: FrozenTrial) -> None:
        """Apply the writes to a trial as the tables apply them, except the final values."""
        for name, (internal, distribution) in self.params.items():
            trial.params[name] = distribution.to_external_repr(internal)
            trial.distributions[name] = distribution
        trial.user_attrs |= self.user_attrs
        trial.system_attrs |= self.system_attrs
        trial.intermediate_values |= self.reports

    def add(self, other: PendingWrites) -> None:
        """Add later writes, except their final values."""
        self.params |= other.params
        self.user_attrs |= other.user_attrs
        self.system_attrs |= other.system_attrs
        self.reports |= other.reports

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts that are not empty, for `castpool.storage.sql.trials.with_parts`."""
        parts = tuple(part.name for part in fields(self) if getattr(self, part.name))
        return ("report",) if parts == ("reports",) and len(self.reports) == 1 else parts

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `castpool.storage.sql.trials.WRITE` and similar; missing parts are empty."""
        reports = [encode_value(float(value)) for value in self.reports.values()]
        if self.parts == ("report",):
            return {"step": next(iter(self.reports)), "report": reports[0][0], "report_type": reports[0][1]}
        values = [encode_value(float(value)) for value in self.values]
        return {
            "names": list(self.params),
            "internals": [float(internal) for internal, _ in self.params.values()],
            "distributions": [distribution_to_json(distribution) for _, distribution in self.params.values()],
            "user_keys": list(self.user_attrs),
            "user_values": [json.dumps(value) for value in self.user_attrs.values()],
            "system_keys": list(self.system_attrs),
            "system_values": [json.dumps(value) for value in self.system_attrs.values()],
            "steps": list(self.reports),
            "reports": [value for value, _ in reports],
            "report_types": [kind for _, kind in reports],
            "objectives": [value for value, _ in values],
            "objective_types": [kind for _, kind in values],
        }
