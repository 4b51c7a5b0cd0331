"""The optimizations of castpool's speed. Each can be disabled, in case of doubt or to measure its effect.

Sampler, pruner and the frequency of validation checks are not here: they have separate options.
"""

from __future__ import annotations

from castpool.sampler_policies import legacy_names

OPTIMIZATIONS = {
    "bounded-batches": "batch sizes are limited to the series and training windows of the data",
    "ordered-space": "choices that have an order are searched as ordered numbers",
    "steps-as-resource": "max_steps is the pruner's resource and is not searched",
    "best-check": "a trial's value is its best validation loss; the refit stops at that step",
    "patience": "a trial ends after a third of its checks without an improvement",
    "cost-aware": "with a time budget: expected improvement per second, and no costly initial trials",
    "shared-cores": "each worker computes on its share of the cores",
    "fork-server": "workers are forked from one process that has loaded neuralforecast",
    "shared-data": "a worker builds the data set once, not for each trial",
    "drawn-windows": "only the windows that are drawn for training are copied",
    "fused-optimizer": "Adam's update is one fused kernel",
    "quiet-steps": "the training loss of single steps is not logged",
}
_IDENTITY_NAMES = {current: legacy for legacy, current in legacy_names.OPTIMIZATIONS.items()}


def canonical_name(name: str) -> str:
    """Return the current name of an optimization; a word that is no legacy name is returned as it is."""
    return legacy_names.OPTIMIZATIONS.get(name, name)


def identity_name(name: str) -> str:
    """Return the name of an optimization in the identity of a study: its first name, which never changes."""
    return _IDENTITY_NAMES.get(name, name)
