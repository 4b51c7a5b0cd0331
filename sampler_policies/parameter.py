"""One parameter of a search space: what Optuna samples and what the model gets.

Five kinds, so that every sampler sees as much order as there is:

=======  ===============================  ==========================  =====================
kind     for                              Optuna samples              the model gets
=======  ===============================  ==========================  =====================
float    a range of numbers               a float                     that float
int      a range or an even grid          an integer                  that integer
power    choices 32, 64, 128, ...         ``log2(name)``, an integer  2 to that power
rank     other ordered choices            ``rank(name)``, an integer  the choice at that rank
choice   names, flags, lists, ``None``    one of them (lists by name) the choice
=======  ===============================  ==========================  =====================
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

Kind = Literal["float", "int", "power", "rank", "choice"]


@dataclass(frozen=True)
class Parameter:
    """A searched argument of a model. ``label`` is its name in Optuna, ``name`` the model's own."""

    name: str
    kind: Kind
    distribution: BaseDistribution
    values: tuple[Any, ...] = ()
    quantum: float | None = None

    @property
    def label(self) -> str:
        """The name in Optuna: says so where the sampled number is not the model's own value."""
        return {"power": f"log2({self.name})", "rank": f"rank({self.name})"}.get(self.kind, self.name)

    @property
    def is_ordered(self) -> bool:
        """Whether neighbouring values may be expected to behave alike."""
        return self.kind != "choice"

    def suggest(self, trial: optuna.trial.BaseTrial) -> Any:
        """Ask the trial for a value and return what the model gets."""
        d = self.distribution
        if isinstance(d, FloatDistribution):
            return self.decode(trial.suggest_float(self.label, d.low, d.high, step=d.step, log=d.log))
        if isinstance(d, IntDistribution):
            return self.decode(trial.suggest_int(self.label, d.low, d.high, step=d.step, log=d.log))
        assert isinstance(d, CategoricalDistribution)
        return self.decode(trial.suggest_categorical(self.label, d.choices))

    def decode(self, stored: Any) -> Any:
        """Return the model's value for one that Optuna holds."""
        if self.kind == "power":
            return 2 ** int(stored)
        if self.kind == "rank":
            return self.values[int(stored)]
        if self.kind == "choice":
            return next(value for value in self.values if name_of(value) == stored and _same_type(value, stored))
        if self.quantum is not None:
            return round(round(stored / self.quantum) * self.quantum, 12)
        return stored

    def encode(self, value: Any) -> Any:
        """Return what Optuna holds for the model's value, or for the nearest one that the space has.

        Raises:
            ValueError: a choice without order that the space does not have.
        """
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            if not any(name_of(value) == name_of(own) for own in self.values):
                raise ValueError(f"{self.name}: {value!r} is not among {list(self.values)}")
            return name_of(value)
        assert isinstance(d, IntDistribution | FloatDistribution)
        if self.kind == "power":
            return min(range(d.low, d.high + 1), key=lambda power: abs(2**power - value))
        if self.kind == "rank":
            return min(range(len(self.values)), key=lambda rank: abs(self.values[rank] - value))
        inside = min(max(value, d.low), d.high)
        if isinstance(d, IntDistribution):
            return int(d.low + round((inside - d.low) / d.step) * d.step)
        return float(inside)

    def grid(self) -> list[Any]:
        """Return every value that the model may get, ascending; empty for a float range."""
        d = self.distribution
        if isinstance(d, IntDistribution):
            return [self.decode(stored) for stored in range(d.low, d.high + 1, d.step)]
        return list(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as JSON values, for keeping with the study."""
        return {
            "name": self.name,
            "kind": self.kind,
            "distribution": json.loads(distribution_to_json(self.distribution)),
            "values": list(self.values),
            "quantum": self.quantum,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Parameter:
        """Rebuild a parameter from `to_json`."""
        distribution = json_to_distribution(json.dumps(stored["distribution"]))
        return cls(stored["name"], stored["kind"], distribution, tuple(stored["values"]), stored["quantum"])


def _same_type(value: Any, stored: Any) -> bool:
    # 1, 1.0 and True are equal in Python and three different choices to a model.
    return isinstance(value, list | tuple | dict) or type(value) is type(stored)


def name_of(value: Any) -> bool | int | float | str | None:
    """Return how Optuna's storage keeps a choice: scalars as they are, lists by their JSON text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)


def from_choices(name: str, choices: Sequence[Any]) -> Parameter:
    """Return the parameter for a list of choices, ordered wherever the choices are numbers."""
    numbers = _ordered_numbers(choices)
    if numbers is None:
        unique = list({(name_of(value), type(value)): value for value in choices}.values())
        return Parameter(name, "choice", CategoricalDistribution([name_of(v) for v in unique]), tuple(unique))
    if all(isinstance(number, int) for number in numbers):
        steps = {b - a for a, b in itertools.pairwise(numbers)}
        powers = [number.bit_length() - 1 for number in numbers]
        is_power = numbers[0] > 0 and [2**power for power in powers] == numbers
        if steps != {1} and is_power and powers == list(range(powers[0], powers[-1] + 1)):
            return Parameter(name, "power", IntDistribution(powers[0], powers[-1]))
        if len(steps) == 1:
            return Parameter(name, "int", IntDistribution(numbers[0], numbers[-1], step=steps.pop()))
    return Parameter(name, "rank", IntDistribution(0, len(numbers) - 1), tuple(numbers))


def _ordered_numbers(choices: Sequence[Any]) -> list[Any] | None:
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in choices):
        return None
    return sorted(set(choices))
