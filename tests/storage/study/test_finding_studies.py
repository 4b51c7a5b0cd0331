"""Which study a command means: by its name, without one, and the error where that is unclear."""

from __future__ import annotations

import optuna
import pytest

from castpool.storage.budget import slots
from castpool.storage.errors import StudyNotFoundError
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy, list_studies, only_study, open_study
from tests.storage.helpers import claimed, finish, make_study


def finish_all(store: Store, stored: StoredStudy) -> None:
    while not slots.count(store.engine, stored.study_id).is_done:
        finish(store, claimed(store, stored), "complete")


def test_an_unknown_name_is_answered_with_the_names_there_are(store: Store) -> None:
    with pytest.raises(StudyNotFoundError, match=r"got 'sea', which is not in the storage; .*none yet: castpool tune"):
        open_study(store, "sea")
    make_study(store, "air")
    make_study(store, "land")

    with pytest.raises(StudyNotFoundError, match="the studies there: land, air") as caught:
        only_study(store, "sea")
    assert caught.value.exit_code == 2


class TestTheOnlyStudy:
    def test_there_is_none(self, store: Store) -> None:
        optuna.create_study(storage=store.trials, study_name="another program's")

        with pytest.raises(StudyNotFoundError, match="the storage has none yet; castpool tune creates one"):
            only_study(store, None)

    def test_a_name_decides(self, store: Store) -> None:
        air = make_study(store, "air")
        make_study(store, "sea")
        assert only_study(store, "air") == air

    def test_the_unfinished_one_comes_before_a_later_one(self, store: Store) -> None:
        air, sea = make_study(store, "air"), make_study(store, "sea")
        finish_all(store, sea)
        assert only_study(store, None) == air

    def test_of_several_unfinished_ones_one_has_to_be_named(self, store: Store) -> None:
        finish_all(store, make_study(store, "land"))
        make_study(store, "air")
        make_study(store, "sea")

        with pytest.raises(StudyNotFoundError, match="several are unfinished; write one of sea, air"):
            only_study(store, None)

    def test_the_latest_of_finished_ones(self, store: Store) -> None:
        finish_all(store, make_study(store, "air"))
        sea = make_study(store, "sea")
        finish_all(store, sea)
        assert only_study(store, None) == sea


def test_the_list_says_how_far_each_is(store: Store) -> None:
    air = make_study(store, "air", trials=3)
    make_study(store, "sea", trials=5)
    finish(store, claimed(store, air), "pruned")

    found = list_studies(store)
    assert [(study.name, study.slots, study.ended) for study in found] == [("sea", 5, 0), ("air", 3, 1)]
    assert found[0].created_at > found[1].created_at
