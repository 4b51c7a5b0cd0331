"""The number of workers on a machine, by its cores or its GPUs' memory and utilisation; needs no GPU."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from castpool.sampler_policies.facts import GPUFacts
from castpool.sampler_policies.rules.choose_workers import PoolFacts, choose_workers, workers_on
from castpool.workers.support.gpus import visible

LISTING = """
0, GPU-aaa, NVIDIA H100 80GB HBM3, 81559, 81000, 3
1, GPU-bbb, NVIDIA T4, 15360, 7000, 0
2, GPU-ccc, NVIDIA T4, 15360, 15000, 97
3, GPU-ddd, GRID, 4096, 4000, [N/A]
"""
LARGE, SMALL, TAKEN, UNKNOWN = visible(LISTING, None)


def test_a_listing_is_read_as_nvidia_smi_writes_it() -> None:
    assert GPUFacts("0", "GPU-aaa", "NVIDIA H100 80GB HBM3", 81559, 81000, 0.03) == LARGE
    assert UNKNOWN.busy == 1.0, "an unknown utilisation counts as full"
    assert visible("", None) == ()


@pytest.mark.parametrize(
    ("named", "found"), [("2,0", (TAKEN, LARGE)), ("GPU-b", (SMALL,)), ("", ()), ("7", ()), (" 1 ", (SMALL,))]
)
def test_only_gpus_that_cuda_visible_devices_names_are_used_and_in_its_order(
    named: str, found: tuple[GPUFacts, ...]
) -> None:
    assert visible(LISTING, named) == found


def test_memory_and_utilisation_say_how_many_share_a_gpu() -> None:
    assert [workers_on(gpu) for gpu in (LARGE, SMALL, TAKEN, UNKNOWN)] == [4, 2, 1, 1]


@pytest.mark.parametrize(
    ("facts", "number", "rule"),
    [
        (PoolFacts(0, 100, 8), "8", "one per core"),
        (PoolFacts(0, 3, 8), "3", "one per core"),
        (PoolFacts(5, 100, 8, (LARGE,)), "5", "user's choice"),
        (PoolFacts(0, 100, 16, (LARGE,)), "4", "GPUs shared"),
        (PoolFacts(0, 100, 16, (LARGE, SMALL, TAKEN)), "7", "GPUs shared"),
        (PoolFacts(0, 100, 3, (LARGE, SMALL)), "3", "GPUs shared"),
        (PoolFacts(0, 100, 1, (LARGE, SMALL)), "2", "GPUs shared"),
    ],
)
def test_a_pool_is_as_large_as_its_machine_allows(facts: PoolFacts, number: str, rule: str) -> None:
    made = choose_workers(facts)
    assert (made.subject, made.choice, made.rule) == ("workers", number, rule)


def test_what_a_driver_lists_reaches_the_plan_and_the_workers(tmp_path: Path) -> None:
    """The path from nvidia-smi to CUDA_VISIBLE_DEVICES of each worker, with a replacement for the driver's program."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{LISTING.strip()}\nE\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    code = (
        "from castpool.workers.support.gpus import read_gpus\n"
        "from castpool.workers.pool.process_pool import Pool; from castpool.workers.support.machine import pool_size\n"
        "gpus = tuple(gpu.index for gpu in read_gpus())\n"
        "pool = Pool(None, ['a'], 3, gpus=gpus)\n"
        "print(pool_size(0, 100).choice, [pool.gpu_of(index) for index in range(3)])"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "1,0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    number = min(6, max(2, len(os.sched_getaffinity(0))))
    assert done.stdout.split("\n")[0] == f"{number} ['1', '0', '1']"


def test_without_a_gpu_the_benchmark_measures_nothing_and_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "tests.benchmarks.gpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "No GPU here: nothing is measured.\n")
