"""The GPUs of this machine and their load, read from nvidia-smi, so that the pool's process does not start CUDA."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from castpool.sampler_policies.facts import GPUFacts

_QUERY = "--query-gpu=index,uuid,name,memory.total,memory.free,utilization.gpu"


@cache
def read_gpus() -> tuple[GPUFacts, ...]:
    """Return the GPUs that this process may use, in the order of CUDA_VISIBLE_DEVICES; none without a driver.

    They are read once a process: what their number decides must not change meanwhile.
    """
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", _QUERY, "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        return ()
    return visible(done.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(listing: str, named: str | None) -> tuple[GPUFacts, ...]:
    """Return what nvidia-smi listed and CUDA_VISIBLE_DEVICES names, by its number or by the start of its uuid."""
    found = [_gpu(line) for line in listing.splitlines() if line.strip()]
    if named is None:
        return tuple(found)
    wanted = [name.strip() for name in named.split(",") if name.strip()]
    return tuple(gpu for name in wanted for gpu in found if name == gpu.index or gpu.uuid.startswith(name))


def _gpu(line: str) -> GPUFacts:
    index, uuid, name, total, free, busy = (value.strip() for value in line.split(","))
    # Some drivers report no utilisation ("[N/A]"): the GPU then counts as busy, and gets no further worker.
    return GPUFacts(index, uuid, name, _number(total), _number(free), _number(busy, 100) / 100)


def _number(text: str, otherwise: int = 0) -> int:
    return int(text) if text.isdigit() else otherwise
