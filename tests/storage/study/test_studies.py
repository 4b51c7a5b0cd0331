"""Studies: created once, resumed by the same command, refused with every difference, found without a name."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import optuna
import pytest
from sqlalchemy import event

from castpool.storage.budget import slots
from castpool.storage.budget.slots import SlotCounts
from castpool.storage.errors import StudyConflictError
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import (
    StoredStudy,
    create_or_resume,
    differences,
    find_study,
    list_studies,
    open_study,
    refuse_conflict,
)
from tests.storage.helpers import IDENTITY, claimed, execute, finish, losing_answer, make_study


def test_a_created_study_is_kept_as_it_was_given(store: Store) -> None:
    stored = make_study(store, trials=4, first_params={"x": 0.5})

    assert stored == find_study(store, "air")
    assert stored.name == "air"
    assert stored.spec == {**IDENTITY, "trials": 4}
    assert stored.identity == IDENTITY
    assert [decision["choice"] for decision in stored.plan["decisions"]] == ["TPE"]
    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=4, ended=0, leased=0)
    assert claimed(store, stored).params == {"x": 0.5}
    assert claimed(store, stored).params is None


def test_plain_optuna_sees_it(store: Store) -> None:
    stored = make_study(store)
    url = store.url.render_as_string(hide_password=False)
    study = optuna.load_study(study_name="air", storage=url)

    assert study._study_id == stored.study_id
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.user_attrs["castpool"] == {"spec": dict(stored.spec), "decisions": list(stored.plan["decisions"])}
    assert study.trials == []


def test_the_same_command_resumes(store: Store) -> None:
    stored = make_study(store, first_params={"x": 0.5})
    finish(store, claimed(store, stored), "complete")
    again = make_study(store, first_params={"x": 0.5})

    assert again == stored
    assert slots.count(store.engine, stored.study_id) == SlotCounts(slots=3, ended=1, leased=0)


def test_resuming_raises_the_budget_and_never_lowers_it(store: Store) -> None:
    stored = make_study(store, trials=3)
    assert make_study(store, trials=5).spec["trials"] == 5
    assert slots.count(store.engine, stored.study_id).slots == 5

    make_study(store, trials=2)
    assert slots.count(store.engine, stored.study_id).slots == 5


def test_resuming_leaves_the_parameters_of_an_attempt_alone(store: Store) -> None:
    stored = make_study(store, first_params={"x": 0.5})
    claimed(store, stored)
    make_study(store, first_params={"x": 0.75})

    assert execute(store, "SELECT params FROM castpool_slots WHERE slot = 0") == [({"x": 0.5},)]


def test_tuples_are_the_lists_that_they_become(store: Store) -> None:
    identity = {"space": {"input_size": (12, 24)}, "loss": None}
    make_study(store, identity=identity)
    make_study(store, identity=identity)

    again = make_study(store, identity={"space": {"input_size": [12, 24]}})
    assert again.identity == {"space": {"input_size": [12, 24]}, "loss": None}


def test_another_meaning_is_refused_with_every_difference(store: Store) -> None:
    stored = make_study(store, identity={"model": "NHITS", "horizon": 12, "freq": "ME"})
    other = {"model": "NHITS", "horizon": 24, "loss": "MAE", "space": {"x": list(range(99))}}

    with pytest.raises(StudyConflictError) as caught:
        make_study(store, trials=50, identity=other)

    message = str(caught.value)
    assert message.startswith("name: study 'air' exists with a different configuration (")
    for change in ('freq: "ME" before, null now', "horizon: 12 before, 24 now", 'loss: null before, "MAE" now'):
        assert change in message
    assert "model" not in message
    assert "space: null before, {" in message and len(message) < 400, "a long value is cut short"
    assert caught.value.exit_code == 2
    assert find_study(store, "air") == stored
    assert slots.count(store.engine, stored.study_id).slots == 3


def test_a_conflict_is_noticed_before_anything_is_written(store: Store) -> None:
    refuse_conflict(store, "air", IDENTITY)
    make_study(store)
    refuse_conflict(store, "air", IDENTITY)

    with pytest.raises(StudyConflictError):
        refuse_conflict(store, "air", {**IDENTITY, "horizon": 1})


def test_differences_are_sorted_and_equal_values_none() -> None:
    assert differences({"b": 1, "a": 1, "c": None}, {"b": 2, "a": 2}) == ["a: 1 before, 2 now", "b: 1 before, 2 now"]
    assert differences(IDENTITY, dict(IDENTITY)) == []


def foreign_with_a_trial(study: optuna.Study) -> None:
    study.ask()


def foreign_with_a_note(study: optuna.Study) -> None:
    study.set_user_attr("owner", "ann")


@pytest.mark.parametrize("mark", [foreign_with_a_trial, foreign_with_a_note])
def test_a_study_that_castpool_did_not_make_is_refused(store: Store, mark: Any) -> None:
    mark(optuna.create_study(storage=store.url.render_as_string(hide_password=False), study_name="air"))

    with pytest.raises(
        StudyConflictError, match="got 'air', a study that castpool did not create; write another --name"
    ):
        make_study(store)
    assert find_study(store, "air") is None


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "minimize"]])
def test_a_bare_study_that_is_not_minimised_is_refused(
    store: Store, directions: list[Literal["minimize", "maximize"]]
) -> None:
    optuna.create_study(storage=store.trials, study_name="air", directions=directions)

    with pytest.raises(StudyConflictError, match="castpool did not create"):
        make_study(store)


def test_a_crash_after_the_optuna_study_is_mended_by_the_same_command(store: Store) -> None:
    bare = optuna.create_study(storage=store.trials, study_name="air", direction="minimize")
    stored = make_study(store, first_params={"x": 0.5})

    assert stored.study_id == bare._study_id
    assert slots.count(store.engine, stored.study_id).slots == 3
    assert claimed(store, stored).params == {"x": 0.5}


def test_a_crash_before_the_note_for_optuna_is_mended_too(store: Store) -> None:
    stored = make_study(store)
    execute(store, "DELETE FROM study_user_attributes")
    assert make_study(store) == stored

    study = optuna.load_study(study_name="air", storage=store.trials)
    assert study.user_attrs["castpool"]["spec"] == stored.spec


def test_a_lost_answer_while_creating_is_no_second_study(store: Store) -> None:
    with losing_answer(store.engine) as lost:
        stored = make_study(store)

    assert lost
    assert [study.name for study in list_studies(store)] == ["air"]
    assert slots.count(store.engine, stored.study_id).slots == 3


def create_together(url: str, requests: Sequence[Mapping[str, Any]]) -> list[StoredStudy | StudyConflictError]:
    """Create study "air" from as many threads as there are requests, at the same moment."""
    together = threading.Barrier(len(requests))

    def create(arguments: Mapping[str, Any]) -> StoredStudy | StudyConflictError:
        with open_store(url) as opened:
            together.wait()
            try:
                return make_study(opened, **arguments)
            except StudyConflictError as error:
                return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(create, requests))


def test_six_creators_at_once_make_one_study(store: Store, database: str) -> None:
    results = create_together(database, [{"trials": 7, "first_params": {"x": 0.5}}] * 6)

    assert len({result.study_id for result in results if isinstance(result, StoredStudy)}) == 1
    assert all(isinstance(result, StoredStudy) for result in results)
    assert slots.count(store.engine, open_study(store, "air").study_id) == SlotCounts(slots=7, ended=0, leased=0)


def test_of_two_meanings_at_once_one_is_kept_and_the_other_changes_nothing(store: Store, database: str) -> None:
    request = [{"trials": horizon, "identity": {"horizon": horizon}} for horizon in (10, 20, 30, 40)]
    results = create_together(database, request)

    made = [result for result in results if isinstance(result, StoredStudy)]
    assert len(made) == 1
    assert sum(isinstance(result, StudyConflictError) for result in results) == 3
    kept = open_study(store, "air")
    assert kept.spec == {"horizon": kept.identity["horizon"], "trials": kept.identity["horizon"]}
    assert slots.count(store.engine, kept.study_id).slots == kept.identity["horizon"]


def test_one_that_came_first_by_a_moment_is_not_overwritten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is looked for, not found, and made before ours is written."""
    plain = optuna.create_study

    def slowly(*args: Any, **kwargs: Any) -> optuna.Study:
        monkeypatch.setattr(optuna, "create_study", plain)
        make_study(store, identity={"horizon": 10}, trials=10)
        return plain(*args, **kwargs)

    monkeypatch.setattr(optuna, "create_study", slowly)
    with pytest.raises(StudyConflictError, match="horizon: 10 before, 20 now"):
        make_study(store, identity={"horizon": 20}, trials=20)

    kept = open_study(store, "air")
    assert kept.spec == {"horizon": 10, "trials": 10}
    assert slots.count(store.engine, kept.study_id).slots == 10


def test_one_that_is_made_while_it_is_looked_for_is_not_taken_for_another_programs(store: Store, database: str) -> None:
    with open_store(database) as other:

        def make_it(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if "study_directions" in statement and find_study(other, "air") is None:
                make_study(other)

        event.listen(store.engine, "before_cursor_execute", make_it)
        refuse_conflict(store, "air", IDENTITY)
        event.remove(store.engine, "before_cursor_execute", make_it)

    assert find_study(store, "air") is not None


def test_a_study_needs_its_data(store: Store) -> None:
    arguments: dict[str, Any] = {"spec": {}, "identity": {}, "plan": {}, "trials": 1, "first_params": {}}
    with pytest.raises(Exception, match="castpool_datasets"):
        create_or_resume(store, "air", dataset="not put", **arguments)

    assert find_study(store, "air") is None
