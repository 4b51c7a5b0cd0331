"""One parameter of a search space: the value that Optuna samples, and the one that the model gets.

There are five kinds, so that samplers can use all the order that values have:

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
from dataclasses import dataclass, field, replace
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

# Optuna stores integers as floats, which are exact up to here.
LARGEST_INTEGER = 2**53
# Longer than the lists of neuralforecast's default spaces; more values count as a range.
LONGEST_LIST = 12


@dataclass(frozen=True)
class Parameter:
    """A searched argument of a model. ``label`` is its name in Optuna, ``name`` its name in the model.

    ``values`` are the choices of a rank or choice parameter: JSON values. With a ``quantum``, the model gets the
    multiple of it that is nearest to the number that Optuna samples.

    A parameter with ``when`` exists only in trials in which each argument named there has one of the given values. A
    parameter with ``repeat`` is a list, with as many entries as the value of the argument of that name.
    """

    name: str
    kind: Kind
    distribution: BaseDistribution
    values: tuple[Any, ...] = ()
    quantum: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    repeat: str | None = None

    @property
    def branches(self) -> bool:
        """Whether what Optuna samples differs from trial to trial."""
        return bool(self.when) or self.repeat is not None

    @property
    def label(self) -> str:
        """The name in Optuna, which shows where the sampled number is not the model's value."""
        return {"power": f"log2({self.name})", "rank": f"rank({self.name})"}.get(self.kind, self.name)

    @property
    def is_ordered(self) -> bool:
        """Whether neighbouring values can be expected to have similar losses."""
        return self.kind != "choice"

    def suggest(self, trial: optuna.trial.BaseTrial, label: str | None = None) -> Any:
        """Sample a value in the trial, under this label or the parameter's, and return the model's value."""
        d, label = self.distribution, label or self.label
        if isinstance(d, FloatDistribution):
            return self.decode(trial.suggest_float(label, d.low, d.high, step=d.step, log=d.log))
        if isinstance(d, IntDistribution):
            return self.decode(trial.suggest_int(label, d.low, d.high, step=d.step, log=d.log))
        assert isinstance(d, CategoricalDistribution)
        return self.decode(trial.suggest_categorical(label, d.choices))

    def decode(self, stored: Any) -> Any:
        """Return the model's value for a stored one."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return self.values[d.choices.index(stored)]
        if self.kind == "power":
            return 2 ** int(stored)
        if self.kind == "rank":
            return self.values[int(stored)]
        if self.quantum is not None:
            return _on_grid(stored, 0, self.quantum)
        if isinstance(d, FloatDistribution) and d.step is not None:
            return _on_grid(stored, d.low, d.step)
        return stored

    def encode(self, value: Any) -> Any:
        """Return the stored value for the model's value, or for the nearest value in the space.

        Raises:
            ValueError: a choice without an order that is not in the space, or no number where there is an order.
        """
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            texts = [json.dumps(choice) for choice in self.values]
            if (text := json.dumps(value)) not in texts:
                raise ValueError(f"{self.name}: {value!r} is not among {list(self.values)}")
            return d.choices[texts.index(text)]
        assert isinstance(d, IntDistribution | FloatDistribution)
        if not isinstance(value, int | float):
            raise ValueError(f"{self.name}: {value!r} is not a number")
        if self.kind == "power":
            distances = [abs(power - value) for power in self.grid()]
            return int(d.low) + distances.index(min(distances))
        if self.kind == "rank":
            # 1 and 1.0 are equally near to 1, and different choices for a model.
            differences = [(abs(choice - value), type(choice) is not type(value)) for choice in self.values]
            return differences.index(min(differences))
        inside = min(max(value, d.low), d.high)
        if isinstance(d, IntDistribution):
            return int(_on_grid(inside, d.low, d.step))
        return float(inside if d.step is None else _on_grid(inside, d.low, d.step))

    def unordered(self) -> Parameter:
        """Return the parameter as choices without an order, where its values are few enough for a list."""
        values = self.grid()
        if self.kind == "choice" or not values or len(values) > LONGEST_LIST:
            return self
        distribution = CategoricalDistribution(_stored_names(values))
        return replace(self, kind="choice", distribution=distribution, values=tuple(values), quantum=None)

    def grid(self) -> list[Any]:
        """Return every value that the model may get, ascending where there is an order; none for floats."""
        d = self.distribution
        if isinstance(d, IntDistribution):
            decoded = (self.decode(stored) for stored in range(d.low, d.high + 1, d.step))
            return list(dict.fromkeys(decoded)) if self.quantum is not None else list(decoded)
        return list(self.values)

    @property
    def size(self) -> int | None:
        """The number of values that Optuna may sample; None where they are continuous."""
        d = self.distribution
        if isinstance(d, IntDistribution):
            return (d.high - d.low) // d.step + 1
        if isinstance(d, FloatDistribution):
            return None if d.step is None else round((d.high - d.low) / d.step) + 1
        return len(self.values)

    def extremes(self) -> list[Any]:
        """Return the smallest and the largest value where there is an order, else every choice."""
        d = self.distribution
        if isinstance(d, IntDistribution | FloatDistribution):
            return [self.decode(d.low), self.decode(d.high)]
        return list(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as JSON values, which the storage keeps with the study."""
        return {
            "name": self.name,
            "kind": self.kind,
            "distribution": json.loads(distribution_to_json(self.distribution)),
            "values": list(self.values),
            "quantum": self.quantum,
            "when": {name: list(values) for name, values in self.when.items()},
            "repeat": self.repeat,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Parameter:
        """Rebuild a parameter from `to_json`."""
        distribution = json_to_distribution(json.dumps(stored["distribution"]))
        when = {name: tuple(values) for name, values in stored.get("when", {}).items()}
        values, repeat = tuple(stored["values"]), stored.get("repeat")
        return cls(stored["name"], stored["kind"], distribution, values, stored["quantum"], when, repeat)


def from_choices(name: str, choices: Sequence[Any]) -> Parameter:
    """Return the parameter for a list of choices, which are JSON values; ordered where all are numbers."""
    # By their JSON text, because 1, 1.0 and True are equal in Python and three choices for a model.
    unique = [json.loads(text) for text in dict.fromkeys(json.dumps(value) for value in choices)]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in unique):
        return Parameter(name, "choice", CategoricalDistribution(_stored_names(unique)), tuple(unique))
    numbers = sorted(unique)
    if all(isinstance(number, int) for number in numbers):
        steps = {b - a for a, b in itertools.pairwise(numbers)}
        powers = [number.bit_length() - 1 for number in numbers]
        is_power = numbers[0] > 0 and [2**power for power in powers] == numbers
        if steps != {1} and is_power and powers == list(range(powers[0], powers[-1] + 1)):
            return Parameter(name, "power", IntDistribution(powers[0], powers[-1]))
        if len(steps) == 1 and max(map(abs, numbers)) <= LARGEST_INTEGER:
            return Parameter(name, "int", IntDistribution(numbers[0], numbers[-1], step=steps.pop()))
    return Parameter(name, "rank", IntDistribution(0, len(numbers) - 1), tuple(numbers))


def _stored_names(values: Sequence[Any]) -> list[Any]:
    """Return the choices as Optuna stores them: scalars, lists as JSON text; all as JSON text where two are equal."""
    names = [value if value is None or isinstance(value, int | float | str) else json.dumps(value) for value in values]
    return names if len(set(names)) == len(names) else [json.dumps(value) for value in values]


def _on_grid(number: float, origin: float, step: float) -> float:
    return round(origin + round((number - origin) / step) * step, 12)
