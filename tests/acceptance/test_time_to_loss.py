"""The smallest comparison with other systems: every system runs, and the tables are complete."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.time_to_loss.records import read_records
from tests.benchmarks.time_to_loss.systems import OURS, SYSTEMS

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
# Long enough for the imports beside other tests; the test does not compare what the systems find in it.
SECONDS = 30
TABLE = f"time-to-loss-{SECONDS}s"


@pytest.mark.slow
def test_the_quick_comparison_runs_every_system_and_prints_whole_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.time_to_loss", "--quick", "--seconds", str(SECONDS)]
    run: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "capture_output": True}
    run |= {"text": True, "timeout": 900}
    done = subprocess.run([*command, "--systems", *SYSTEMS, "naive", "--out", str(tmp_path)], **run)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, ratios = done.stdout.split("\n\n")[1:3]
    lines = losses.splitlines()
    assert {line.count("|") for line in lines} == {7} and len(lines) == 2 + len(SYSTEMS) + 1
    assert all(label in losses for label in SYSTEMS.values())
    assert {line.count("|") for line in ratios.splitlines()} == {8}
    assert (tmp_path / TABLE / "demo-MLP.png").stat().st_size > 1000
    file = tmp_path / f"{TABLE}.jsonl.xz"
    found = read_records(file)
    records = [found["demo-MLP", 1, system, ""] for system in SYSTEMS]
    assert any(record.curve for record in records), "no system finished a trial"
    for record in records:
        assert all(0 < seconds <= SECONDS for seconds, _ in record.curve)
        assert [loss for _, loss in record.curve] == sorted((loss for _, loss in record.curve), reverse=True)
        assert (record.test is not None) == bool(record.curve)
    again = subprocess.run([*command, "--recorded", "--out", str(tmp_path)], **run)
    assert again.stdout == done.stdout, "the kept measurements are printed again, and nothing is run"
    nothing = subprocess.run([*command, "--recorded", "--out", str(tmp_path / "none")], **run)
    assert nothing.returncode == 2 and "has no such records" in nothing.stderr
    tested = next((record for record in records if record.curve and record.system not in OURS), None)
    if tested is not None:
        replace(tested, test=None).add_to(file)
        filled = subprocess.run([*command, "--systems", tested.system, "--out", str(tmp_path)], **run)
        assert filled.returncode == 0, filled.stderr[-3000:]
        assert read_records(file)[tested.key].test == pytest.approx(tested.test, rel=1e-3)
