"""A search space: the parameters that are searched and the arguments that stay fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from sampler_policies.facts import SpaceFacts
from sampler_policies.parameter import Parameter


@dataclass(frozen=True)
class Space:
    """What a trial may choose (``parameters``), what it may not (``constants``), and why (``notes``)."""

    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Parameter:
        """Return the parameter of that name (KeyError where it is not searched)."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return any(parameter.name == name for parameter in self.parameters)

    def searching(self, parameter: Parameter, note: str | None = None) -> Space:
        """Return the space with this parameter in place of whatever bore its name."""
        if parameter.name in self:
            parameters = tuple(parameter if own.name == parameter.name else own for own in self.parameters)
            return replace(self, parameters=parameters).noting(note)
        others = self.without(parameter.name)
        return replace(others, parameters=(*others.parameters, parameter)).noting(note)

    def fixing(self, name: str, value: Any, note: str | None = None) -> Space:
        """Return the space with an argument at one value."""
        others = self.without(name)
        return replace(others, constants={**others.constants, name: value}).noting(note)

    def without(self, name: str) -> Space:
        """Return the space with no word on that argument: the model's own default, or what the study decides."""
        parameters = tuple(own for own in self.parameters if own.name != name)
        constants = {own: value for own, value in self.constants.items() if own != name}
        return replace(self, parameters=parameters, constants=constants)

    def noting(self, note: str | None) -> Space:
        """Return the space with one more note on how it came about."""
        return self if note is None else replace(self, notes=(*self.notes, note))

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Ask the trial for every parameter and return the model's arguments."""
        return {**self.constants, **{own.name: own.suggest(trial) for own in self.parameters}}

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model's arguments for the parameters of a stored trial."""
        return {**self.constants, **{own.name: own.decode(stored[own.label]) for own in self.parameters}}

    def encode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored parameters nearest to the model's arguments, those that ``config`` names."""
        return {own.label: own.encode(config[own.name]) for own in self.parameters if own.name in config}

    @property
    def facts(self) -> SpaceFacts:
        """What a sampler policy may know of the space."""
        return SpaceFacts(len(self.parameters), sum(not own.is_ordered for own in self.parameters))

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values, for keeping with the study."""
        return {
            "parameters": [own.to_json() for own in self.parameters],
            "constants": dict(self.constants),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Space:
        """Rebuild a space from `to_json`."""
        parameters = tuple(Parameter.from_json(own) for own in stored["parameters"])
        return cls(parameters, stored["constants"], tuple(stored["notes"]))
