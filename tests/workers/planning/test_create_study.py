"""A study is resumed with the holdout that it was made with, unless the user asks for another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from castpool.storage.store import Store
from castpool.workers.planning.create_study import Draft, save_study, with_stored_holdout

Make = Callable[..., Draft]


@pytest.mark.parametrize("holdout", [0, 8])
def test_the_same_command_resumes_a_study_with_its_holdout(store: Store, draft: Make, holdout: int) -> None:
    stored = save_study(store, draft(name="study", holdout=holdout))
    again = draft(name="study")
    assert again.job.spec.holdout == 4, "the policy chooses another"
    resumed = with_stored_holdout(store, again)
    assert resumed.job.spec.holdout == holdout
    assert save_study(store, resumed).study_id == stored.study_id


def test_what_the_user_has_set_and_a_new_study_stay_as_they_are(store: Store, draft: Make) -> None:
    save_study(store, draft(name="study", holdout=8))
    for drafted in (draft(name="study", holdout=4), draft(name="another")):
        assert with_stored_holdout(store, drafted) is drafted
