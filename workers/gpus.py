"""What GPUs this machine has, and how they are doing; asked of nvidia-smi, so that no process of ours starts CUDA."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from sampler_policies.facts import GPUFacts

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
    wanted = [own.strip() for own in named.split(",") if own.strip()]
    return tuple(gpu for own in wanted for gpu in found if own == gpu.index or gpu.uuid.startswith(own))


def _gpu(line: str) -> GPUFacts:
    index, uuid, name, total, free, busy = (own.strip() for own in line.split(","))
    # Some drivers know no utilisation ("[N/A]"): then nothing speaks for more workers.
    return GPUFacts(index, uuid, name, _number(total), _number(free), _number(busy, 100) / 100)


def _number(text: str, otherwise: int = 0) -> int:
    return int(text) if text.isdigit() else otherwise
