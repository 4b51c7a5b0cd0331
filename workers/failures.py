"""What a failed attempt means for its slot: tried again, otherwise or not at all. Pure: an error in, a verdict out.

Pruned and diverged trials are no failures; neither is an attempt that was handed back, which is retried for ever. One
whose worker was lost is the reaper's (`storage.reaper`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampler_policies.errors import InputError

OUT_OF_MEMORY = "out of memory"
BAD_CONFIGURATION = "bad configuration"
TRANSIENT = "transient"
UNKNOWN = "unknown"
DIVERGED = "diverged"

# How often an attempt that failed so is followed by another.
RETRIES = {OUT_OF_MEMORY: 2, TRANSIENT: 5, UNKNOWN: 1, BAD_CONFIGURATION: 0}
# A study ends when so many trials, all that have ended, failed as badly configured for one reason.
ALL_BAD = 3

# The allocators of torch and CUDA raise RuntimeError in some places and their own class in others.
_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
# What a distribution says of parameters that are NaN, and neuralforecast of a loss.
_NAN = re.compile(r"\bnan\b|to satisfy the constraint", re.IGNORECASE)
_SHAPE = re.compile(
    r"shape|size of tensor|sizes of tensors|size mismatch|dimension|kernel size|out of bounds|out of range|no windows",
    re.IGNORECASE,
)
# Raised for the same configuration again and again.
_OF_CONFIGURATION = (
    InputError, ValueError, TypeError, LookupError, AssertionError, NotImplementedError, ZeroDivisionError
)  # fmt: skip
BATCHES = ("batch_size", "windows_batch_size", "valid_batch_size", "inference_windows_batch_size")


@dataclass(frozen=True)
class Verdict:
    """What happens to the slot of a failed attempt.

    Attributes:
        failure: the class of the failure.
        reason: the error, for people, in one line.
        is_retried: whether the slot is open again.
        starts_anew: whether the next attempt leaves the checkpoint alone.
        pause_seconds: how long to wait before the slot is opened.
    """

    failure: str
    reason: str
    is_retried: bool = False
    starts_anew: bool = False
    pause_seconds: float = 0.0


def failure_of(error: BaseException) -> str:
    """Return the class of a failure, by the error that a training raised."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _MEMORY.search(text):
        return OUT_OF_MEMORY
    if _NAN.search(text):
        return DIVERGED
    if isinstance(error, OSError):
        return TRANSIENT
    if isinstance(error, _OF_CONFIGURATION) or (isinstance(error, RuntimeError) and _SHAPE.search(text)):
        return BAD_CONFIGURATION
    return UNKNOWN


def judge(failure: str, reason: str, earlier: Mapping[str, int]) -> Verdict:
    """Return what happens to the slot.

    Args:
        failure: the class of the failure.
        reason: the error, for people.
        earlier: how many attempts at the slot have failed before, by class.
    """
    failed = earlier.get(failure, 0)
    is_retried = failed < RETRIES.get(failure, 0)
    pause = float(2**failed) if is_retried and failure == TRANSIENT else 0.0
    return Verdict(failure, reason, is_retried, failure != TRANSIENT, pause)


def in_one_line(error: BaseException) -> str:
    """Return class and message of an error as one line of at most 500 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def halved(config: Mapping[str, Any], defaults: Mapping[str, Any], times: int) -> dict[str, int]:
    """Return the batch sizes of a configuration after they were halved so often; one is the smallest.

    Args:
        config: the configuration.
        defaults: the model's own arguments, which hold for what the configuration leaves out.
        times: how often.
    """
    sizes = {name: config.get(name, defaults.get(name)) for name in BATCHES}
    return {name: max(1, size >> times) for name, size in sizes.items() if isinstance(size, int) and size > 0}
