"""A short fight with every kind of fault, and one with nothing but kills; `python -m tests.chaos` is the long one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.chaos.arena import Arena, arena, attempts_after_restart, fight
from tests.chaos.faults import FAULTS


@pytest.fixture(scope="module")
def where() -> Iterator[Arena]:
    with arena() as own:
        yield own


@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_lost_by(where: Arena, kind: str) -> None:
    name = kind.replace(" ", "-")
    outcome = fight(where, name, random.Random(kind), workers=4, trials=12, pause=0.4, only=kind)
    assert outcome.losses == []
    assert outcome.faults[kind] >= 2


def test_nothing_is_lost_when_everything_goes_wrong(where: Arena) -> None:
    outcome = fight(where, "everything", random.Random(7), workers=6, trials=30, pause=0.3)
    assert outcome.losses == []
    assert len(outcome.faults) >= 5
    assert outcome.attempts > outcome.trials
    assert attempts_after_restart(where, "everything", 3) == 0


def test_exactly_fifty_trials_end_under_kills(where: Arena) -> None:
    outcome = fight(where, "fifty", random.Random(8), workers=8, trials=50, pause=0.3, only="SIGKILL")
    assert outcome.losses == []
    assert attempts_after_restart(where, "fifty", 3) == 0


def test_real_trainings_survive_too(where: Arena) -> None:
    outcome = fight(where, "real", random.Random(9), workers=2, trials=6, pause=1.5, is_real=True)
    assert outcome.losses == []
    assert outcome.faults.total() >= 1
