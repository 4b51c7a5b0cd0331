"""Synthetic problems like the spaces of NeuralForecast's models: ordered, categorical, logarithmic, with noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from optuna.distributions import FloatDistribution

from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space

MAX_STEPS = 1000
CHECK_STEPS = 50


class Problem(Protocol):
    """A function of a configuration to minimise."""

    name: str
    space: Space
    max_steps: int
    val_check_steps: int

    def curve(self, config: Mapping[str, Any], rng: np.random.Generator) -> list[tuple[int, float]]:
        """Train once: the validation loss at each check."""

    def loss(self, config: Mapping[str, Any]) -> float:
        """The loss without noise, by which configurations are compared."""


@dataclass(frozen=True)
class Synthetic:
    """A loss of a configuration with relative noise, reached along a curve whose speed depends on the configuration."""

    name: str
    space: Space
    noiseless: Callable[[Mapping[str, Any]], float]
    noise: float
    max_steps: int = MAX_STEPS
    val_check_steps: int = CHECK_STEPS

    def loss(self, config: Mapping[str, Any]) -> float:
        """Return the loss without noise."""
        return self.noiseless(config)

    def curve(self, config: Mapping[str, Any], rng: np.random.Generator) -> list[tuple[int, float]]:
        """Return checks that come down to the noisy loss; high learning rates early, low ones late."""
        final = self.noiseless(config) * math.exp(self.noise * rng.standard_normal())
        half_life = 40 * (1e-2 / config["learning_rate"]) ** 0.35
        start = 3.0 + final
        steps = range(self.val_check_steps, self.max_steps + 1, self.val_check_steps)
        wobble = 0.02 * rng.standard_normal(len(steps))
        return [
            (step, final + (start - final) * 0.5 ** (step / half_life) + abs(noise) * final)
            for step, noise in zip(steps, wobble, strict=True)
        ]


def _log(name: str, low: float, high: float) -> Parameter:
    return Parameter(name, "float", FloatDistribution(low, high, log=True))


def _lr(config: Mapping[str, Any], best: float, width: float = 1.0) -> float:
    return (math.log10(config["learning_rate"] / best) / width) ** 2


def _off(value: float, best: float, scale: float) -> float:
    return ((math.log2(value) - math.log2(best)) / scale) ** 2


LR = _log("learning_rate", 1e-4, 1e-1)
SCALER = from_choices("scaler_type", ["identity", "standard", "robust", "minmax"])
INPUT = from_choices("input_size", [24, 48, 72, 96, 120])
BATCH = from_choices("batch_size", [32, 64, 128, 256])
WINDOWS = from_choices("windows_batch_size", [128, 256, 512, 1024])
SCALES = {"identity": 0.4, "standard": 0.0, "robust": 0.08, "minmax": 0.25}


def _mlp(c: Mapping[str, Any]) -> float:
    width = 0.5 * _off(c["hidden_size"], 512, 3) + 0.15 * (c["num_layers"] - 3) ** 2 / 4
    lr = 0.8 * _lr(c, 3e-3 * (512 / c["hidden_size"]) ** 0.5)
    data = 0.3 * _off(c["input_size"], 72, 1) + 0.05 * _off(c["batch_size"], 64, 1)
    windows = 0.05 * _off(c["windows_batch_size"], 512, 2)
    return 1.0 + width + lr + data + windows + SCALES[c["scaler_type"]] + 0.1 * (c["step_size"] != 1)


MLP = Space(
    (
        LR,
        from_choices("hidden_size", [64, 128, 256, 512, 1024]),
        from_choices("num_layers", [2, 3, 4, 5, 6]),
        INPUT,
        BATCH,
        WINDOWS,
        SCALER,
        from_choices("step_size", [1, 24]),
    )
)

POOLS = [[2, 2, 1], [1, 1, 1], [2, 2, 2], [4, 4, 4], [8, 4, 1], [16, 8, 1]]
FREQS = [[168, 24, 1], [24, 12, 1], [180, 60, 1], [60, 8, 1], [40, 20, 1], [1, 1, 1]]


def _nhits(c: Mapping[str, Any]) -> float:
    pool, freq = POOLS.index(c["n_pool_kernel_size"]), FREQS.index(c["n_freq_downsample"])
    shape = [0.05, 0.12, 0.0, 0.1, 0.2, 0.35][pool] + [0.2, 0.0, 0.15, 0.1, 0.05, 0.08][freq]
    # Long inputs want strong pooling.
    both = 0.15 * abs(math.log2(c["input_size"] / 24) / 2 - pool / 5)
    lr = 0.6 * _lr(c, 1e-3, 0.8) * (1.5 if c["scaler_type"] == "identity" else 1.0)
    rest = 0.04 * _off(c["windows_batch_size"], 256, 1) + 0.03 * _off(c["batch_size"], 32, 1)
    return 1.0 + shape + both + lr + rest + SCALES[c["scaler_type"]] + 0.15 * abs(c["dropout"] - 0.1)


NHITS = Space(
    (
        LR,
        from_choices("n_pool_kernel_size", POOLS),
        from_choices("n_freq_downsample", FREQS),
        INPUT,
        BATCH,
        WINDOWS,
        SCALER,
        from_choices("dropout", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    )
)


def _transformer(c: Mapping[str, Any]) -> float:
    size = 0.25 * _off(c["hidden_size"], 128, 1.5) + 0.05 * _off(c["n_heads"], 8, 1)
    lr = 0.7 * _lr(c, 5e-4 * (128 / c["hidden_size"]) ** 0.7)
    drop = 1.2 * (c["dropout"] - 0.15) ** 2 + 0.8 * (c["attn_dropout"] - 0.1) ** 2
    depth = 0.06 * (c["e_layers"] - 2) ** 2 + 0.03 * (c["d_layers"] - 1) ** 2
    rest = 0.25 * _off(c["input_size"], 96, 1) + 0.05 * _off(c["batch_size"], 64, 1)
    act = {"relu": 0.03, "gelu": 0.0, "tanh": 0.12}[c["activation"]]
    return 1.0 + size + lr + drop + depth + rest + act + SCALES[c["scaler_type"]] + 0.02 * _off(c["ff"], 512, 1)


TRANSFORMER = Space(
    (
        LR,
        from_choices("hidden_size", [32, 64, 128, 256, 512]),
        from_choices("n_heads", [2, 4, 8, 16]),
        Parameter("dropout", "float", FloatDistribution(0.0, 0.6)),
        Parameter("attn_dropout", "float", FloatDistribution(0.0, 0.6)),
        from_choices("e_layers", [1, 2, 3, 4]),
        from_choices("d_layers", [1, 2, 3]),
        INPUT,
        BATCH,
        from_choices("activation", ["relu", "gelu", "tanh"]),
        from_choices("ff", [128, 256, 512, 1024, 2048]),
        SCALER,
    )
)


def _ordered(c: Mapping[str, Any]) -> float:
    # A narrow bent valley: the best learning rate follows the size, the best decay the dropout.
    lr = 1.2 * (math.log10(c["learning_rate"]) + 2.2 + 0.25 * math.log2(c["hidden_size"] / 64)) ** 2
    decay = 0.3 * (math.log10(c["weight_decay"]) + 4 + 2 * c["dropout"]) ** 2
    size = 0.2 * _off(c["hidden_size"], 256, 2) + 0.6 * (c["dropout"] - 0.25) ** 2
    rest = 0.3 * _off(c["input_size"], 96, 1) + 0.05 * _off(c["batch_size"], 128, 1) + 0.08 * (c["layers"] - 4) ** 2
    return 1.0 + lr + decay + size + rest + 0.1 * math.sin(6 * c["momentum"]) ** 2 + 0.05 * _off(c["heads"], 4, 1)


ORDERED = Space(
    (
        LR,
        _log("weight_decay", 1e-6, 1e-1),
        Parameter("dropout", "float", FloatDistribution(0.0, 0.6)),
        Parameter("momentum", "float", FloatDistribution(0.0, 1.0)),
        from_choices("hidden_size", [32, 64, 128, 256, 512]),
        from_choices("layers", [1, 2, 3, 4, 5, 6]),
        from_choices("heads", [1, 2, 4, 8]),
        INPUT,
        BATCH,
    )
)

PROBLEMS: tuple[Problem, ...] = (
    Synthetic("MLP-like", MLP, _mlp, 0.02),
    Synthetic("NHITS-like", NHITS, _nhits, 0.02),
    Synthetic("Transformer-like", TRANSFORMER, _transformer, 0.03),
    Synthetic("all ordered", ORDERED, _ordered, 0.01),
)
