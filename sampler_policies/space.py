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

    def unordered(self) -> Space:
        """Return the space with each short list of values as choices without an order."""
        return replace(self, parameters=tuple(own.unordered() for own in self.parameters))

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Ask the trial for every parameter that this trial has and return the model's arguments."""
        return self._arguments(lambda own, label: own.suggest(trial, label))

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model's arguments for the parameters of a stored trial."""
        return self._arguments(lambda own, label: own.decode(stored[label]))

    def encode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored parameters nearest to the model's arguments, those that ``config`` names."""
        stored: dict[str, Any] = {}
        for own in self.parameters:
            if own.name not in config:
                continue
            if own.repeat is None:
                stored[own.label] = own.encode(config[own.name])
            else:
                stored |= {_entry(own, index): own.encode(value) for index, value in enumerate(config[own.name])}
        return stored

    def _arguments(self, value_of: Callable[[Parameter, str], Any]) -> dict[str, Any]:
        known = dict(self.constants)
        for own in self.in_order():
            if any(json.dumps(known.get(name)) not in map(json.dumps, values) for name, values in own.when.items()):
                continue
            if own.repeat is None:
                known[own.name] = value_of(own, own.label)
            else:
                known[own.name] = [value_of(own, _entry(own, index)) for index in range(int(known[own.repeat]))]
        return {name: value for name, value in known.items() if not name.startswith("_")}

    def in_order(self) -> tuple[Parameter, ...]:
        """Return the parameters with each after those that it depends on (CycleError where there is no such order)."""
        if not self.branches:
            return self.parameters
        by_name = {own.name: own for own in self.parameters}
        needs = {
            own.name: {*own.when, *([own.repeat] if own.repeat else [])} & by_name.keys() for own in self.parameters
        }
        return tuple(by_name[name] for name in TopologicalSorter(needs).static_order())

    @property
    def branches(self) -> bool:
        """Whether trials may differ in what they sample."""
        return any(own.branches for own in self.parameters)

    @property
    def facts(self) -> SpaceFacts:
        """What a sampler policy may know of the space."""
        sizes = [own.size for own in self.parameters]
        n_points = None if None in sizes else math.prod(size for size in sizes if size is not None)
        n_unordered = sum(not own.is_ordered for own in self.parameters)
        # Of a space that branches, the product counts points that no trial has, and misses those of lists.
        return SpaceFacts(len(self.parameters), n_unordered, None if self.branches else n_points, self.branches)

    @property
    def distributions(self) -> dict[str, BaseDistribution] | None:
        """What Optuna samples in every trial, by its names there; None where trials differ."""
        return None if self.branches else {own.label: own.distribution for own in self.parameters}

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


def _entry(parameter: Parameter, index: int) -> str:
    return f"{parameter.label}[{index}]"
