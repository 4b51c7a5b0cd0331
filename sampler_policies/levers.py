"""The levers of castpool's speed, each of which can be left out: by whoever doubts one, and to measure its worth.

Sampler, pruner and the frequency of checks have options of their own.
"""

from __future__ import annotations

LEVERS = {
    "bounded-batches": "batches end where the series and training windows that the data has do",
    "ordered-space": "choices that have an order are searched as ordered numbers",
    "steps-as-resource": "max_steps is what the pruner deals out, and not searched",
    "best-check": "a trial is worth its best check, and the winner is fitted up to that step",
    "patience": "a trial ends where a third of its checks in a row were no better than its best",
    "weighed-time": "with a budget of time, the start is no dearer than the defaults, and what a configuration "
    "promises is weighed by what its training steps take",
    "shared-cores": "each worker computes on its share of the cores",
    "fork-server": "workers are forks of one process that has loaded neuralforecast",
    "shared-data": "a worker builds the data set once, not for each trial",
    "drawn-windows": "of a batch's windows only those are copied that are trained on",
    "fused-optimizer": "Adam's update is one kernel",
    "quiet-steps": "the training loss of each step is not logged where nobody looks",
}
