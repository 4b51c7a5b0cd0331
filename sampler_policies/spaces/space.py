"""A search space: the parameters that are searched and the arguments that stay fixed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from castpool.sampler_policies.facts import SpaceFacts
from castpool.sampler_policies.spaces.parameter import Parameter


@dataclass(frozen=True)
class Space:
    """Searched arguments (``parameters``), fixed ones (``constants``), and why they are so (``notes``)."""

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
        """Return the space with this parameter in place of the parameter or constant of its name."""
        if parameter.name in self:
            parameters = tuple(parameter if old.name == parameter.name else old for old in self.parameters)
            return replace(self, parameters=parameters).noting(note)
        others = self.without(parameter.name)
        return replace(others, parameters=(*others.parameters, parameter)).noting(note)

    def fixing(self, name: str, value: Any, note: str | None = None) -> Space:
        """Return the space with an argument at one value."""
        others = self.without(name)
        return replace(others, constants={**others.constants, name: value}).noting(note)

    def without(self, name: str) -> Space:
        """Return the space without that argument, whose value is then the model's default or the study's decision."""
        parameters = tuple(parameter for parameter in self.parameters if parameter.name != name)
        constants = {other: value for other, value in self.constants.items() if other != name}
        return replace(self, parameters=parameters, constants=constants)

    def noting(self, note: str | None) -> Space:
        """Return the space with one more note."""
        return self if note is None else replace(self, notes=(*self.notes, note))

    def unordered(self) -> Space:
        """Return the space with each short list of values as choices without an order."""
        return replace(self, parameters=tuple(parameter.unordered() for parameter in self.parameters))

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Sample every parameter that this trial has, and return the model's arguments."""
        return self._arguments(lambda parameter, label: parameter.suggest(trial, label))

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model's arguments for the parameters of a stored trial."""
        return self._arguments(lambda parameter, label: parameter.decode(stored[label]))

    def encode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored parameters nearest to the arguments in ``config``; other parameters are left out."""
        stored: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in config:
                continue
            value = config[parameter.name]
            if parameter.repeat is None:
                stored[parameter.label] = parameter.encode(value)
            else:
                stored |= {_entry_label(parameter, index): parameter.encode(entry) for index, entry in enumerate(value)}
        return stored

    def _arguments(self, value_of: Callable[[Parameter, str], Any]) -> dict[str, Any]:
        known = dict(self.constants)
        for parameter in self.in_order():
            conditions = parameter.when.items()
            if any(json.dumps(known.get(name)) not in map(json.dumps, values) for name, values in conditions):
                continue
            if parameter.repeat is None:
                known[parameter.name] = value_of(parameter, parameter.label)
            else:
                labels = [_entry_label(parameter, index) for index in range(int(known[parameter.repeat]))]
                known[parameter.name] = [value_of(parameter, label) for label in labels]
        return {name: value for name, value in known.items() if not name.startswith("_")}

    def in_order(self) -> tuple[Parameter, ...]:
        """Return the parameters with each after those that it depends on (CycleError where there is no such order)."""
        if not self.branches:
            return self.parameters
        by_name = {parameter.name: parameter for parameter in self.parameters}
        needed = {
            name: {*parameter.when, *([parameter.repeat] if parameter.repeat else [])} & by_name.keys()
            for name, parameter in by_name.items()
        }
        return tuple(by_name[name] for name in TopologicalSorter(needed).static_order())

    @property
    def branches(self) -> bool:
        """Whether trials may differ in the parameters that they sample."""
        return any(parameter.branches for parameter in self.parameters)

    @property
    def facts(self) -> SpaceFacts:
        """The facts on the space for the policies."""
        sizes = [parameter.size for parameter in self.parameters]
        n_points = None if None in sizes else math.prod(size for size in sizes if size is not None)
        n_unordered = sum(not parameter.is_ordered for parameter in self.parameters)
        # In a branching space the product counts points that no trial can have, and not the points of lists.
        return SpaceFacts(len(self.parameters), n_unordered, None if self.branches else n_points, self.branches)

    @property
    def distributions(self) -> dict[str, BaseDistribution] | None:
        """The distributions of every trial, by Optuna's names; None where trials differ."""
        return None if self.branches else {parameter.label: parameter.distribution for parameter in self.parameters}

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values, which the storage keeps with the study."""
        return {
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "constants": dict(self.constants),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Space:
        """Rebuild a space from `to_json`."""
        parameters = tuple(map(Parameter.from_json, stored["parameters"]))
        return cls(parameters, stored["constants"], tuple(stored["notes"]))


def _entry_label(parameter: Parameter, index: int) -> str:
    return f"{parameter.label}[{index}]"
