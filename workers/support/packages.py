"""The packages whose versions are recorded: with each trial, with each result, and for MLflow to install."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

# What a training and its result depend on.
RECORDED = ("castpool", "neuralforecast", "optuna", "torch", "pytorch-lightning", "pandas")
# What loads and runs a saved model. castpool too where it reconciles a hierarchy, or computes a baseline.
SERVING = ("neuralforecast", "torch", "pandas")
SERVING_WITH_CASTPOOL = (*SERVING, "castpool")


@cache
def installed_versions() -> dict[str, str]:
    """Return the installed version of each recorded package; the workers of a pool may differ in them."""
    return {name: version(name) for name in RECORDED}


def serving_requirements(*, needs_castpool: bool) -> list[str]:
    """Return what MLflow installs for a saved model, as pip reads it: without local parts such as ``+cpu``."""
    names = SERVING_WITH_CASTPOOL if needs_castpool else SERVING
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]
