from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from workers import pace
from workers.pace import Pace


def _clock(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    times: Iterator[float] = iter(seconds)
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(times))


def test_the_first_step_prepares_what_all_need_and_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    _clock(monkeypatch, 100.0, 100.1, 102.4)
    own = Pace()
    assert own.seconds_of(1000) == math.inf, "nothing is known"
    own.step(1)
    assert own.seconds_of(1000) == math.inf, "still nothing is"
    own.step(2)
    own.step(25)
    assert own.seconds_of(1000) == pytest.approx(100.0)


def test_what_follows_the_last_step_does_not_count_and_what_lies_between_steps_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _clock(monkeypatch, 0.0, 1.0, 3.0)
    own = Pace()
    own.step(0)
    own.step(10)
    assert own.seconds_of(100) == pytest.approx(10.0), "a validation that runs now is not asked for"
    own.step(20)
    assert own.seconds_of(100) == pytest.approx(15.0), "one between steps is part of the training"


def test_a_training_that_goes_on_elsewhere_counts_from_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    _clock(monkeypatch, 100.0, 101.0)
    own = Pace()
    own.step(501)
    own.step(601)
    assert own.seconds_of(1000) == pytest.approx(10.0)
