"""The comparison with what users run today, at its smallest: every system runs, and the table is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.time_to_loss.records import kept
from tests.benchmarks.time_to_loss.systems import OURS, SYSTEMS

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
# Long enough for imports beside other tests; who finds how much in it is not asked.
SECONDS = 30


def test_the_quick_comparison_runs_every_system_and_prints_whole_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.time_to_loss", "--quick", "--seconds", str(SECONDS)]
    run: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "capture_output": True}
    run |= {"text": True, "timeout": 900}
    done = subprocess.run([*command, "--systems", *SYSTEMS, "naive", "--out", str(tmp_path)], **run)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, ratios = done.stdout.split("\n\n")[1:3]
    lines = losses.splitlines()
    assert {own.count("|") for own in lines} == {7} and len(lines) == 2 + len(SYSTEMS) + 1
    assert all(words in losses for words in SYSTEMS.values())
    assert {own.count("|") for own in ratios.splitlines()} == {8}
    assert (tmp_path / "demo-MLP.png").stat().st_size > 1000
    found = kept(tmp_path / "records.jsonl")
    records = [found["demo-MLP", 1, own, ""] for own in SYSTEMS]
    assert any(own.curve for own in records), "somebody finishes a trial"
    for own in records:
        assert all(0 < seconds <= SECONDS for seconds, _ in own.curve)
        assert [loss for _, loss in own.curve] == sorted((loss for _, loss in own.curve), reverse=True)
        assert (own.test is not None) == bool(own.curve)
    again = subprocess.run([*command, "--kept", "--out", str(tmp_path)], **run)
    assert again.stdout == done.stdout, "what was measured is printed again, and nothing is run"
    nothing = subprocess.run([*command, "--kept", "--out", str(tmp_path / "none")], **run)
    assert nothing.returncode == 2 and "has no such records" in nothing.stderr
    judged = next((own for own in records if own.curve and own.system not in OURS), None)
    if judged is not None:
        replace(judged, test=None).keep(tmp_path / "records.jsonl")
        filled = subprocess.run([*command, "--systems", judged.system, "--out", str(tmp_path)], **run)
        assert filled.returncode == 0, filled.stderr[-3000:]
        assert kept(tmp_path / "records.jsonl")[judged.key].test == pytest.approx(judged.test, rel=1e-3)
