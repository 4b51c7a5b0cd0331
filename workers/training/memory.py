"""The most memory that a training took: what a machine needs for a worker."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

from castpool import attributes

MB = 2**20
_PROCESS = Path("/proc/self")


def start_measuring() -> None:
    """Reset the peaks, so that they are those of the training that begins."""
    # Where the system cannot reset it, the peak is that of the process, over all its trials.
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")  # https://docs.kernel.org/filesystems/proc.html
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, int]:
    """Return the peaks since `start_measuring`: ``memory_peak_mb``, and with a GPU ``gpu_memory_peak_mb``."""
    found = {attributes.MEMORY_PEAK_MB: round(_resident() / MB)}
    if torch.cuda.is_available():
        found[attributes.GPU_MEMORY_PEAK_MB] = round(torch.cuda.max_memory_allocated() / MB)
    return found


def _resident() -> float:
    with contextlib.suppress(OSError):
        if line := re.search(r"^VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text(), re.MULTILINE):
            return float(line[1]) * 1024
    # Kilobytes; bytes on macOS.
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
