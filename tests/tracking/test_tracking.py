"""What MLflow has of a study is what the storage has, once, whatever happened on the way."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from storage import attachments, slots
from storage.artifacts import open_artifacts
from storage.locks import holding
from storage.store import Store
from storage.studies import StoredStudy
from storage.trials import end_trial
from tests.storage.helpers import expire, load, make_study, reap, started
from tests.tracking.conftest import MlflowServer, record
from workers.attempt_record import milliseconds
from workers.measures import read_measures
from workers.tracking import KEPT, Tracker
from workers.tracking_client import TrackingError, tracking_client


@pytest.fixture
def study(store: Store) -> StoredStudy:
    return make_study(store, f"air-{uuid.uuid4().hex[:8]}", trials=4)


def ended(store: Store, study: StoredStudy, state: TrialState, reports: dict[int, float], **attrs: Any) -> optuna.Trial:
    """Return an attempt that has ended."""
    claim, trial = started(store, study)
    trial.set_user_attr("config", {"hidden_size": 8, "scaler_type": "robust", "stack": [1, 2]})
    trial.set_user_attr("versions", {"castpool": "0.1.0", "torch": "2.13.0"})
    for step, value in reports.items():
        trial.report(value, step)
    outcome = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(state.name)
    value = min(reports.values()) if state == TrialState.COMPLETE else None
    attrs = {"training_seconds": 1.5, "memory_peak_mb": 512, **attrs}
    end_trial(load(store, study.name), trial, claim, state, value, outcome=outcome, user_attrs=attrs)
    return trial


@pytest.fixture
def three(store: Store, study: StoredStudy) -> list[optuna.Trial]:
    """One attempt that is complete, one pruned, one that was handed back."""
    return [
        ended(store, study, TrialState.COMPLETE, {10: 3.0, 20: 2.0, 30: 2.5}, sampler="CurveGP"),
        ended(store, study, TrialState.PRUNED, {10: 9.0}, reason="not among the best"),
        ended(store, study, TrialState.FAIL, {10: 4.0}, reason="handed back: the worker was asked to stop"),
    ]


@pytest.fixture
def tracker(store: Store, study: StoredStudy, mlflow_server: MlflowServer) -> Iterator[Tracker]:
    yield Tracker(store, study, mlflow_server.uri)


def test_each_attempt_is_a_run_with_all_that_is_known_of_it(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    synced = tracker.sync()
    assert synced is not None
    assert (synced.experiment, synced.attempts, synced.runs) == (study.name, 3, 3)
    runs = record(mlflow_server.uri, study.name)
    assert sorted(runs) == [study.name, "trial 0", "trial 1", "trial 2"]
    parent = runs.pop(study.name)
    assert {own["tags"]["mlflow.parentRunId"] for own in runs.values()} == {parent["id"]}
    assert [runs[f"trial {own}"]["status"] for own in range(3)] == ["FINISHED", "FINISHED", "KILLED"]

    stored = store.trials.get_all_trials(study.study_id)
    for trial in stored:
        run = runs[f"trial {trial.number}"]
        began = milliseconds(trial.datetime_start)
        assert (run["start"], run["end"]) == (began, milliseconds(trial.datetime_complete))
        assert run["params"] == {"hidden_size": "8", "scaler_type": "robust", "stack": "[1, 2]"}
        reported = [(step, value, began) for step, value in sorted(trial.intermediate_values.items())]
        assert run["metrics"]["validation_loss"] == reported
        total = (trial.datetime_complete - trial.datetime_start).total_seconds()  # type: ignore[operator]
        assert [own[1] for own in run["metrics"]["duration_total_seconds"]] == [pytest.approx(total)]
        assert run["metrics"]["duration_training_seconds"][0][1] == 1.5
        assert run["metrics"]["memory_peak_mb"][0][1] == 512
        assert run["tags"]["castpool.data_sha256"] == study.dataset
        assert run["tags"]["castpool.version.torch"] == "2.13.0"
        assert run["tags"]["castpool.worker"] == str(trial.user_attrs["castpool"]["worker"])
    assert runs["trial 0"]["metrics"]["loss"][0][1] == 2.0
    assert runs["trial 0"]["tags"]["castpool.sampler"] == "CurveGP"
    assert "loss" not in runs["trial 1"]["metrics"]
    assert runs["trial 1"]["tags"]["castpool.reason"] == "not among the best"
    assert (parent["status"], parent["params"]["model"], parent["params"]["horizon"]) == ("RUNNING", "NHITS", "12")
    assert parent["metrics"]["best_loss"][0][:2] == (0, 2.0)
    assert "**sampler**" in parent["tags"]["mlflow.note.content"]


def test_a_second_look_changes_nothing_whoever_looks(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    tracker.sync()
    before = record(mlflow_server.uri, study.name)
    for own in (tracker, Tracker(store, study, mlflow_server.uri)):
        again = own.sync()
        assert again is not None
        assert again.written == 0
    assert record(mlflow_server.uri, study.name) == before


def test_a_running_trial_is_seen_and_ends_where_it_ends(
    store: Store, study: StoredStudy, tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    claim, trial = started(store, study)
    tracker.sync()
    assert record(mlflow_server.uri, study.name)["trial 0"]["status"] == "RUNNING"
    trial.report(0.25, 2)
    store.trials.flush(trial._trial_id)
    expire(store, claim)
    reap(store, study)
    tracker.sync()
    run = record(mlflow_server.uri, study.name)["trial 0"]
    assert run["status"] == "KILLED"
    assert [own[:2] for own in run["metrics"]["validation_loss"]] == [(1, 0.5), (2, 0.25)]
    assert run["tags"]["castpool.reason"].startswith("lost: worker")


def test_a_run_that_was_made_twice_is_there_once(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    tracker.sync()
    before = record(mlflow_server.uri, study.name)
    client = tracking_client(mlflow_server.uri)
    first = client.get_run(before["trial 1"]["id"])
    tags = {name: own for name, own in first.data.tags.items() if name != "mlflow.runName"}
    # As where the answer to the first request was lost, and the client has asked again.
    client.create_run(first.info.experiment_id, first.info.start_time, tags, "trial 1")
    Tracker(store, study, mlflow_server.uri).sync()
    assert record(mlflow_server.uri, study.name) == before


def test_what_was_begun_is_completed(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A process that dies between any two requests leaves what the next one completes."""
    client = tracker._client
    calls, deaths = 0, 0
    for name in ("create_run", "log_batch", "set_terminated"):
        real = getattr(client, name)

        def breaking(*arguments: Any, real: Any = real, **values: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2 + deaths:
                raise ConnectionError("killed")
            return real(*arguments, **values)

        monkeypatch.setattr(client, name, breaking)
    while True:
        calls = 0
        try:
            tracker.sync()
            break
        except ConnectionError:
            deaths += 1
    assert deaths >= 4
    runs = record(mlflow_server.uri, study.name)
    assert len(runs) == 4
    stored = {f"trial {own.number}": own.intermediate_values for own in store.trials.get_all_trials(study.study_id)}
    for name, reports in stored.items():
        assert [own[:2] for own in runs[name]["metrics"]["validation_loss"]] == sorted(reports.items())


def test_one_process_at_a_time(store: Store, study: StoredStudy, tracker: Tracker) -> None:
    with holding(store.engine, "mlflow", study.study_id) as is_ours:
        assert is_ours
        assert tracker.sync() is None
    assert tracker.sync() is not None


def test_a_raised_budget_opens_the_study_again(
    store: Store, study: StoredStudy, tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    for _ in range(4):
        ended(store, study, TrialState.COMPLETE, {10: 1.0})
    tracker.sync()
    assert record(mlflow_server.uri, study.name)[study.name]["status"] == "FINISHED"
    make_study(store, study.name, trials=5)
    tracker.sync()
    parent = record(mlflow_server.uri, study.name)[study.name]
    assert (parent["status"], parent["tags"]["castpool.trials"]) == ("RUNNING", "5")
    ended(store, study, TrialState.COMPLETE, {10: 1.0})
    tracker.sync()
    runs = record(mlflow_server.uri, study.name)
    assert (runs[study.name]["status"], len(runs)) == ("FINISHED", 6)


def test_files_follow_their_content(
    store: Store, study: StoredStudy, tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    attachments.attach(store.engine, study.study_id, {"report.html": b"<p>one</p>"})
    tracker.sync()
    client = tracking_client(mlflow_server.uri)
    run = record(mlflow_server.uri, study.name)[study.name]
    assert run["files"] == ["report.html"]
    attachments.attach(store.engine, study.study_id, {"report.html": b"<p>two</p>"})
    synced = tracker.sync()
    assert synced is not None
    assert synced.written == 1
    with open(client.download_artifacts(run["id"], "report.html")) as file:
        assert file.read() == "<p>two</p>"


def test_completeness_is_a_measure(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker
) -> None:
    def completeness() -> float | None:
        return next(own.value for own in read_measures(store, study) if own.name == "mlflow_completeness")

    assert completeness() is None
    tracker.sync()
    assert completeness() == 1.0
    assert store.trials.get_study_user_attrs(study.study_id)[KEPT]["runs"] == 3
    ended(store, study, TrialState.COMPLETE, {10: 1.0})
    assert completeness() == pytest.approx(3 / 4)


def test_a_server_that_is_away_is_one_sentence_without_secrets(store: Store, study: StoredStudy) -> None:
    with pytest.raises(TrackingError, match="does not answer as MLflow") as raised:
        Tracker(store, study, "http://user:canary@127.0.0.1:9").sync()
    assert "canary" not in str(raised.value)
    assert "castpool sync adds it later" in str(raised.value)
    assert slots.count(store.engine, study.study_id).ended == 0


def test_runs_that_somebody_deleted_or_added_in_mlflow_do_no_harm(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    tracker.sync()
    before = record(mlflow_server.uri, study.name)
    client = tracking_client(mlflow_server.uri)
    experiment = client.get_run(before[study.name]["id"]).info.experiment_id
    client.delete_run(before["trial 1"]["id"])
    client.delete_run(before[study.name]["id"])
    for name in ("notes of mine", "more of mine"):
        client.create_run(experiment, tags={"mlflow.parentRunId": before["trial 0"]["id"]}, run_name=name)
    Tracker(store, study, mlflow_server.uri).sync()
    after = record(mlflow_server.uri, study.name)
    assert sorted(after) == sorted([*before, "more of mine", "notes of mine"])
    parents = {after[f"trial {own}"]["tags"]["mlflow.parentRunId"] for own in range(3)}
    assert parents == {after[study.name]["id"]} != {before[study.name]["id"]}


def test_what_mlflow_would_refuse_is_said_otherwise(
    store: Store, study: StoredStudy, tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    claim, trial = started(store, study)
    tracker.sync()  # its parameters are not settled yet
    trial.set_user_attr("config", {"lr[0]": 1, "x": "other than sampled", "long": "y" * 9000})
    trial.report(float("inf"), 3)
    meta = {"artifact_id": "abc", "filename": "../../outside", "mimetype": "text/plain", "encoding": None}
    store.trials.set_trial_system_attr(trial._trial_id, "artifacts:abc", json.dumps(meta))
    open_artifacts(store.engine).write("abc", io.BytesIO(b"content"))
    end_trial(load(store, study.name), trial, claim, TrialState.PRUNED, None, outcome="pruned", user_attrs={})
    tracker.sync()
    run = record(mlflow_server.uri, study.name)["trial 0"]
    assert (run["params"]["lr_0_"], run["params"]["x"]) == ("1", "other than sampled")
    assert len(run["params"]["long"]) == 6000
    assert run["files"] == ["outside"]
