"""What this machine offers a pool: cores, GPUs, and how many workers and threads that makes."""

from __future__ import annotations

import os
from collections.abc import Collection

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.rules.choose_workers import PoolFacts, choose_workers
from castpool.workers.support.gpus import read_gpus


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool_size(asked: int, trials: int) -> Decision:
    """Decide how many workers to run here: as many as asked for, where that is not 0, and no more than trials."""
    return choose_workers(PoolFacts(asked, trials, cores(), () if asked else read_gpus()))


def local_workers(asked: int, trials: int) -> int:
    """Return the number that `pool_size` decides on."""
    return int(pool_size(asked, trials).choice)


def threads_each(n_workers: int, disabled: Collection[str] = ()) -> int:
    """Return how many threads each worker computes with: its share of the cores, unless that is disabled."""
    return cores() if "shared-cores" in disabled else max(1, cores() // n_workers)
