"""What a failed attempt means for its slot: whether and how it is retried. Pure: an error in, a verdict out.

Pruned and diverged trials are no failures. A released attempt is none either: it is retried without a limit. The reaper
retries an attempt whose worker was lost (`castpool.storage.budget.reaper`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from castpool.sampler_policies.errors import InputError

OUT_OF_MEMORY = "out of memory"
BAD_CONFIGURATION = "bad configuration"
TRANSIENT = "transient"
UNKNOWN = "unknown"
DIVERGED = "diverged"

# How often an attempt is retried, by the class of its failure.
RETRIES = {OUT_OF_MEMORY: 2, TRANSIENT: 5, UNKNOWN: 1, BAD_CONFIGURATION: 0}
# A study ends when its first so many trials all failed with a bad configuration, for the same reason.
ALL_BAD = 3

# The allocators of torch and CUDA raise RuntimeError in some places and a class of theirs in others.
_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
# The messages of a distribution with NaN parameters, and of neuralforecast with a NaN loss.
_NAN = re.compile(r"\bnan\b|to satisfy the constraint", re.IGNORECASE)
_SHAPE = re.compile(
    r"shape|size of tensor|sizes of tensors|size mismatch|dimension|kernel size|out of bounds|out of range|no windows",
    re.IGNORECASE,
)
# A retry with the same configuration would raise these again.
_OF_CONFIGURATION = (
    InputError, ValueError, TypeError, LookupError, AssertionError, NotImplementedError, ZeroDivisionError
)  # fmt: skip
BATCHES = ("batch_size", "windows_batch_size", "valid_batch_size", "inference_windows_batch_size")


@dataclass(frozen=True)
class Verdict:
    """What happens to the slot of a failed attempt.

    Attributes:
        failure: the class of the failure.
        reason: the error in one line, for the user.
        is_retried: whether the slot is opened for another attempt.
        starts_anew: whether the next attempt restarts at step 0, not at the checkpoint.
        pause_seconds: how long to wait before the slot is opened.
    """

    failure: str
    reason: str
    is_retried: bool = False
    starts_anew: bool = False
    pause_seconds: float = 0.0


def failure_of(error: BaseException) -> str:
    """Return the class of a failure from the error that a training raised."""
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


def decide_retry(failure: str, reason: str, earlier: Mapping[str, int]) -> Verdict:
    """Return whether and when a failed attempt is retried.

    Args:
        failure: the class of the failure.
        reason: the error, for the user.
        earlier: how many attempts at the slot have failed before, by class.
    """
    failed = earlier.get(failure, 0)
    is_retried = failed < RETRIES.get(failure, 0)
    pause = float(2**failed) if is_retried and failure == TRANSIENT else 0.0
    return Verdict(failure, reason, is_retried, failure != TRANSIENT, pause)


def first_line(error: BaseException) -> str:
    """Return class and message of an error as one line of at most 500 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def halved(config: Mapping[str, Any], defaults: Mapping[str, Any], times: int) -> dict[str, int]:
    """Return the batch sizes of a configuration, halved ``times`` times; at least 1.

    Args:
        config: the configuration.
        defaults: the model's default arguments, for batch sizes that the configuration omits.
        times: how often to halve them.
    """
    sizes = {name: config.get(name, defaults.get(name)) for name in BATCHES}
    return {name: max(1, size >> times) for name, size in sizes.items() if isinstance(size, int) and size > 0}
