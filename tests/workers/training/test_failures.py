"""What each error means for its slot, as a table; and how batches are halved."""

from __future__ import annotations

import errno

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from castpool.sampler_policies.errors import InputError
from castpool.workers.training.failures import (
    BAD_CONFIGURATION,
    BATCHES,
    DIVERGED,
    OUT_OF_MEMORY,
    RETRIES,
    TRANSIENT,
    UNKNOWN,
    decide_retry,
    failure_of,
    first_line,
    halved,
)

TABLE = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), OUT_OF_MEMORY),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), OUT_OF_MEMORY),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OUT_OF_MEMORY),
    (MemoryError(), OUT_OF_MEMORY),
    (Exception("Loss is NaN, training stopped."), DIVERGED),
    (ValueError("Expected parameter loc to satisfy the constraint Real(), but found invalid values"), DIVERGED),
    (Exception("No windows available for training"), UNKNOWN),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied (32x24 and 12x8)"), BAD_CONFIGURATION),
    (RuntimeError("The size of tensor a (5) must match the size of tensor b (4) at dimension 1"), BAD_CONFIGURATION),
    (RuntimeError("Calculated padded input size per channel: (2). Kernel size: (3). Kernel size can't be greater"),
     BAD_CONFIGURATION),
    (ValueError("num_heads must divide hidden_size"), BAD_CONFIGURATION),
    (TypeError("__init__() got an unexpected keyword argument 'n_headz'"), BAD_CONFIGURATION),
    (ZeroDivisionError("integer division or modulo by zero"), BAD_CONFIGURATION),
    (AssertionError("embed_dim must be divisible by num_heads"), BAD_CONFIGURATION),
    (InputError("space", "got 0", "write 1."), BAD_CONFIGURATION),
    (OSError(errno.ENOSPC, "No space left on device"), TRANSIENT),
    (ConnectionResetError("Connection reset by peer"), TRANSIENT),
    (TimeoutError("timed out"), TRANSIENT),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), UNKNOWN),
    (Exception("something else"), UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("error", "failure"), TABLE, ids=lambda value: type(value).__name__ if value else value)
def test_each_error_has_its_class(error: BaseException, failure: str) -> None:
    assert failure_of(error) == failure


@pytest.mark.parametrize(
    ("failure", "attempts"), [(OUT_OF_MEMORY, 3), (BAD_CONFIGURATION, 1), (TRANSIENT, 6), (UNKNOWN, 2)]
)
def test_each_class_has_so_many_attempts(failure: str, attempts: int) -> None:
    verdicts = [decide_retry(failure, "why", {failure: failed}) for failed in range(attempts)]
    assert [verdict.is_retried for verdict in verdicts] == [True] * (attempts - 1) + [False]
    assert {(verdict.failure, verdict.reason) for verdict in verdicts} == {(failure, "why")}


def test_failures_of_another_class_are_not_counted() -> None:
    assert decide_retry(UNKNOWN, "why", {OUT_OF_MEMORY: 2, "lost": 7}).is_retried


def test_what_may_pass_is_waited_out_longer_each_time_and_goes_on_from_its_checkpoint() -> None:
    verdicts = [decide_retry(TRANSIENT, "why", {TRANSIENT: failed}) for failed in range(RETRIES[TRANSIENT])]
    assert [verdict.pause_seconds for verdict in verdicts] == [1, 2, 4, 8, 16]
    assert not any(verdict.starts_anew for verdict in verdicts)


@pytest.mark.parametrize("failure", [OUT_OF_MEMORY, UNKNOWN])
def test_others_start_anew_at_once(failure: str) -> None:
    verdict = decide_retry(failure, "why", {})
    assert (verdict.starts_anew, verdict.pause_seconds) == (True, 0.0)


def test_a_reason_is_one_line_and_not_long() -> None:
    assert first_line(ValueError("first\n  second")) == "ValueError: first second"
    assert len(first_line(ValueError("x" * 10_000))) == 500


@given(st.dictionaries(st.sampled_from(BATCHES), st.integers(1, 4096)), st.integers(1, 20))
def test_batches_are_halved_as_often_and_never_vanish(config: dict[str, int], times: int) -> None:
    defaults = {"batch_size": 32, "windows_batch_size": 1024, "valid_batch_size": None}
    sizes = halved(config | {"learning_rate": 0.1}, defaults, times)
    assert sizes.keys() >= config.keys() | {"batch_size", "windows_batch_size"}
    for name, size in sizes.items():
        assert size == max(1, config.get(name, defaults.get(name)) // 2**times)
    assert "learning_rate" not in sizes
