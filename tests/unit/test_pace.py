from __future__ import annotations

import math

import pytest

from workers import pace
from workers.pace import Pace


def test_the_first_step_prepares_what_all_need_and_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.4])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    own = Pace()
    assert own.seconds_of(1000, now=0) == math.inf, "nothing is known"
    own.step(1)
    assert own.seconds_of(1000, now=1) == math.inf, "still nothing is"
    own.step(2)
    assert own.seconds_of(1000, now=25) == pytest.approx(100.0)


def test_a_training_that_goes_on_elsewhere_counts_from_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    own = Pace()
    own.step(501)
    assert own.seconds_of(1000, now=601) == pytest.approx(10.0)
