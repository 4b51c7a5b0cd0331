"""Recorded trainings as a problem: rows with config, curve, seconds and error, and a surrogate fitted to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

from castpool.sampler_policies.spaces.model_catalogue import entry
from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space
from tests.benchmarks.json_lines import read_json_lines

# A study decides these; they are no parameters of its search.
DECIDED = ("max_steps", "random_seed", "val_check_steps", "h")
MANY = 12
NEIGHBOURS = 5


@dataclass(frozen=True)
class Row:
    """One recorded training: its configuration and the validation loss by training step."""

    config: Mapping[str, Any]
    curve: Sequence[tuple[int, float]]

    @property
    def loss(self) -> float:
        """The best validation loss, which is a trial's value."""
        return min(value for _, value in self.curve)


class Recorded:
    """A recorded table as a problem to minimise.

    The loss of a configuration is the surrogate's (extremely randomised trees on the logarithm of the best check).
    Its curve has the shape of the most similar recorded trainings', at the surrogate's level.
    """

    def __init__(self, path: Path, model: str, horizon: int) -> None:
        self.name = path.name.partition(".")[0]
        self.rows = read_rows(path)
        self.space = space_of(self.rows, model, horizon)
        self.max_steps = max(row.curve[-1][0] for row in self.rows)
        self.val_check_steps = min(row.curve[0][0] for row in self.rows)
        self._x = np.array([self._features(row.config) for row in self.rows])
        self._y = np.log([row.loss for row in self.rows])
        trees = ExtraTreesRegressor(n_estimators=300, min_samples_leaf=1, random_state=0)
        predicted = cross_val_predict(trees, self._x, self._y, cv=5)
        residual = self._y - predicted
        self.fit = float(1 - np.sum(residual**2) / np.sum((self._y - self._y.mean()) ** 2))
        self.noise = 0.005  # of a training with another seed, relative; a table holds one seed
        self._trees = trees.fit(self._x, self._y)
        self._scale = np.maximum(self._x.std(axis=0), 1e-9) / np.sqrt(trees.feature_importances_ + 1e-3)
        self._known: dict[bytes, float] = {}

    def _features(self, config: Mapping[str, Any]) -> list[float]:
        numbers: list[float] = []
        for parameter in self.space.parameters:
            name, stored = parameter.name, parameter.encode(config[parameter.name])
            if parameter.is_ordered:
                distribution = parameter.distribution
                is_log = isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
                numbers.append(math.log(stored) if is_log else float(stored))
            else:
                choice = [json.dumps(value) for value in parameter.values].index(json.dumps(config[name]))
                numbers += [float(choice == index) for index in range(len(parameter.values))]
        return numbers

    def loss(self, config: Mapping[str, Any]) -> float:
        """Return the surrogate's loss."""
        features = np.array(self._features(config))
        key = features.tobytes()
        if key not in self._known:
            self._known[key] = float(np.exp(self._trees.predict(features[None])[0]))
        return self._known[key]

    def curve(self, config: Mapping[str, Any], rng: np.random.Generator) -> list[tuple[int, float]]:
        """Return a similar training's curve at this configuration's level."""
        features = np.array(self._features(config))
        distances = (((self._x - features) / self._scale) ** 2).sum(axis=1)
        similar = self.rows[int(rng.choice(np.argsort(distances)[:NEIGHBOURS]))]
        factor = self.loss(config) / similar.loss * math.exp(self.noise * rng.standard_normal())
        return [(step, value * factor) for step, value in similar.curve]


def read_rows(path: Path) -> list[Row]:
    """Return the table's trainings that ran to their end with finite losses."""
    rows = []
    for stored in read_json_lines(path):
        if stored.get("error") or not stored.get("curve"):
            continue
        curve = [(int(step), float(value)) for step, value in stored["curve"]]
        if all(math.isfinite(value) and value > 0 for _, value in curve):
            rows.append(Row(stored["config"], curve))
    longest = max((row.curve[-1][0] for row in rows), default=0)
    # A searched max_steps gives shorter trainings, which differ in the resource and not in the configuration.
    return [row for row in rows if row.curve[-1][0] == longest] if rows else []


def space_of(rows: Sequence[Row], model: str, horizon: int) -> Space:
    """Return the recorded space: the model's own parameters as far as the table varies them."""
    default_space = entry(model).default_space(horizon, 1)
    parameters = []
    for name in rows[0].config:
        values = [row.config[name] for row in rows]
        unique = {json.dumps(value): value for value in values}
        if name in DECIDED or len(unique) == 1:
            continue
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numeric and len(unique) > MANY:
            known = default_space[name].distribution if name in default_space else None
            is_log = known.log if isinstance(known, FloatDistribution | IntDistribution) else False
            low, high = min(values), max(values)
            if all(isinstance(value, int) for value in values):
                parameters.append(Parameter(name, "int", IntDistribution(low, high, log=is_log)))
            else:
                parameters.append(Parameter(name, "float", FloatDistribution(low, high, log=is_log)))
        else:
            parameters.append(from_choices(name, list(unique.values())))
    return Space(tuple(parameters))
