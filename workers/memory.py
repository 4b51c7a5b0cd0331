"""The most memory that a training took: what a machine needs for a worker."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

MB = 2**20
_PROCESS = Path("/proc/self")


def start_measuring() -> None:
    """Forget earlier peaks: from here on they are those of the training that begins."""
    # Where the system cannot forget, the peak is the process's, over all its trials.
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")  # https://docs.kernel.org/filesystems/proc.html
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, int]:
    """Return the peaks since then: ``memory_peak_mb``, and with a GPU ``gpu_memory_peak_mb``."""
    found = {"memory_peak_mb": round(_resident() / MB)}
    if torch.cuda.is_available():
        found["gpu_memory_peak_mb"] = round(torch.cuda.max_memory_allocated() / MB)
    return found


def _resident() -> float:
    with contextlib.suppress(OSError):
        if line := re.search(r"^VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text(), re.MULTILINE):
            return float(line[1]) * 1024
    # Kilobytes, but for macOS.
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
