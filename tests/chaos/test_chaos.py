"""A short fight with every kind of fault, and one with nothing but kills; `python -m tests.chaos` is the long one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from storage.store import open_store
from storage.studies import open_study
from tests.chaos import audit
from tests.chaos.arena import Arena, arena, attempts_after_restart, fight
from tests.chaos.faults import FAULTS
from tests.storage.helpers import execute

# After these, workers need a moment before they do anything at all.
SLOW = ("server crash and restart", "connections refused", "network cut")


@pytest.fixture(scope="module")
def where() -> Iterator[Arena]:
    with arena() as own:
        yield own


def test_the_audit_sees_what_it_is_for(where: Arena) -> None:
    """A check that cannot fail would prove nothing."""
    fight(where, "audited", random.Random(1), workers=2, trials=4, pause=1000)
    with open_store(where.server.url, application_name="castpool worker 0") as store:
        stored = open_study(store, "audited")
        assert audit.losses(store, stored, 4, is_real=False) == []
        number = "(SELECT trial_id FROM trials ORDER BY trial_id DESC LIMIT 1)"
        for harm in (
            f"INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES ({number}, 'late', '1')",
            f"UPDATE trials SET state = 'FAIL' WHERE trial_id = {number}",
            f"UPDATE trial_params SET param_value = 0.5 WHERE trial_id = {number}",
            f"DELETE FROM trial_intermediate_values WHERE trial_id = {number} AND step = 6",
            "INSERT INTO castpool_artifacts (artifact_id, part, payload) "
            f"VALUES ('checkpoint-{stored.study_id}-0-1-10', 0, '')",
        ):
            execute(store, harm)
        found = " ".join(audit.losses(store, stored, 4, is_real=False))
    for words in ("ended more than once", "wrote trial_user_attributes", "wrote trial_params", "has ['FAIL']"):
        assert words in found
    assert "checkpoints are left" in found


@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_lost_by(where: Arena, kind: str) -> None:
    name = kind.replace(" ", "-")
    pause = 1.2 if kind in SLOW else 0.5
    outcome = fight(where, name, random.Random(kind), workers=4, trials=16, pause=pause, only=kind)
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
