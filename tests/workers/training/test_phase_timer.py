"""The stopwatch of a worker: every second is of one phase, and what the storage took is taken out of all."""

from __future__ import annotations

import pytest

from castpool.workers.monitoring.time_profile import Profile
from castpool.workers.training.phase_timer import PhaseTimer


class Clock:
    """A clock that moves when it is told, and storage time beside it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stored = 7.0

    def watch(self) -> PhaseTimer:
        return PhaseTimer(lambda: self.now, lambda: self.stored)

    def pass_by(self, seconds: float, stored: float = 0.0) -> None:
        self.now += seconds
        self.stored += stored


def test_an_inner_phase_is_taken_out_of_the_outer_one() -> None:
    clock = Clock()
    spent = clock.watch()
    clock.pass_by(1)
    with spent.on("setup"):
        clock.pass_by(2)
        spent.switch("training")
        clock.pass_by(4)
        with spent.on("checkpoints"):
            clock.pass_by(8)
        clock.pass_by(16)
    clock.pass_by(32)
    assert spent.take() == {"elsewhere": 33, "setup": 2, "training": 20, "checkpoints": 8}
    assert spent.take() == {}


def test_what_waited_for_the_storage_is_a_phase_of_its_own() -> None:
    clock = Clock()
    spent = clock.watch()
    with spent.on("sampling"):
        clock.pass_by(3, stored=1)
        with spent.on("pruning"):
            clock.pass_by(2, stored=2)
    assert spent.take() == {"sampling": 2, "storage": 3}


def test_a_phase_ends_with_an_error_too() -> None:
    clock = Clock()
    spent = clock.watch()
    with pytest.raises(ZeroDivisionError), spent.on("setup"):
        spent.switch("training")
        clock.pass_by(1)
        raise ZeroDivisionError
    clock.pass_by(2)
    assert spent.take() == {"training": 1, "elsewhere": 2}


def test_a_profile_adds_up_to_all_the_time_that_workers_were_there() -> None:
    profile = Profile({"training": 6.0, "storage": 1.0}, working=10.0, attempts=2)
    assert sum(profile.whole.values()) == 10.0
    assert profile.to_json()["seconds"]["unknown"] == 3.0
    training = next(line for line in profile.format_lines() if "training" in line.split())
    assert "60.0%" in training and "3000 ms" in training
