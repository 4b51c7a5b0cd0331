"""MLflow's record of a study equals the storage's, without duplicates, after any interruption."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from castpool.storage.attempts.lifecycle import end_trial
from castpool.storage.budget import slots
from castpool.storage.connection.advisory_lock import hold_lock
from castpool.storage.files import attachments
from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.mlflow_tracking.client import TrackingError, tracking_client
from castpool.workers.mlflow_tracking.tracker import KEPT, Tracker
from castpool.workers.mlflow_tracking.trial_run import to_milliseconds
from castpool.workers.monitoring.run_metrics import read_measures
from tests.storage.helpers import expire, load, make_study, reap, started
from tests.workers.mlflow_tracking.conftest import MlflowServer, record
from tests.workers.mlflow_tracking.test_study_result import verdict_of


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
    """One attempt that is complete, one pruned, one released."""
    return [
        ended(store, study, TrialState.COMPLETE, {10: 3.0, 20: 2.0, 30: 2.5}, sampler="CurveGP"),
        ended(store, study, TrialState.PRUNED, {10: 9.0}, reason="not among the best"),
        ended(store, study, TrialState.FAIL, {10: 4.0}, reason="released: worker is shutting down"),
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
    assert {run["tags"]["mlflow.parentRunId"] for run in runs.values()} == {parent["id"]}
    assert [runs[f"trial {number}"]["status"] for number in range(3)] == ["FINISHED", "FINISHED", "KILLED"]

    stored = store.trials.get_all_trials(study.study_id)
    for trial in stored:
        run = runs[f"trial {trial.number}"]
        began = to_milliseconds(trial.datetime_start)
        assert (run["start"], run["end"]) == (began, to_milliseconds(trial.datetime_complete))
        assert run["params"] == {"hidden_size": "8", "scaler_type": "robust", "stack": "[1, 2]"}
        reported = [(step, value, began) for step, value in sorted(trial.intermediate_values.items())]
        assert run["metrics"]["validation_loss"] == reported
        total = (trial.datetime_complete - trial.datetime_start).total_seconds()  # type: ignore[operator]
        assert [point[1] for point in run["metrics"]["duration_total_seconds"]] == [pytest.approx(total)]
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


def test_a_second_synchronization_changes_nothing(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    tracker.sync()
    before = record(mlflow_server.uri, study.name)
    for synchronizing in (tracker, Tracker(store, study, mlflow_server.uri)):
        again = synchronizing.sync()
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
    assert [point[:2] for point in run["metrics"]["validation_loss"]] == [(1, 0.5), (2, 0.25)]
    assert run["tags"]["castpool.reason"].startswith("lost: worker")


def test_a_run_that_was_made_twice_is_there_once(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    tracker.sync()
    before = record(mlflow_server.uri, study.name)
    client = tracking_client(mlflow_server.uri)
    first = client.get_run(before["trial 1"]["id"])
    tags = {name: value for name, value in first.data.tags.items() if name != "mlflow.runName"}
    # As if the answer to the first request had been lost and the client had repeated it.
    client.create_run(first.info.experiment_id, first.info.start_time, tags, "trial 1")
    Tracker(store, study, mlflow_server.uri).sync()
    assert record(mlflow_server.uri, study.name) == before


def test_what_was_begun_is_completed(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A process that dies between any two requests leaves a record that the next one completes."""
    calls, deaths = 0, 0
    for name in ("create_run", "log_batch", "set_terminated"):
        real = getattr(MlflowClient, name)

        def breaking(client: MlflowClient, *arguments: Any, real: Any = real, **values: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2 + deaths:
                raise ConnectionError("killed")
            return real(client, *arguments, **values)

        monkeypatch.setattr(MlflowClient, name, breaking)
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
    stored = {
        f"trial {trial.number}": trial.intermediate_values for trial in store.trials.get_all_trials(study.study_id)
    }
    for name, reports in stored.items():
        assert [point[:2] for point in runs[name]["metrics"]["validation_loss"]] == sorted(reports.items())


def test_one_process_at_a_time(store: Store, study: StoredStudy, tracker: Tracker) -> None:
    with hold_lock(store.engine, "mlflow", study.study_id) as is_ours:
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
    attachments.attach_files(store.engine, study.study_id, {"report.html": b"<p>one</p>"})
    tracker.sync()
    client = tracking_client(mlflow_server.uri)
    run = record(mlflow_server.uri, study.name)[study.name]
    assert run["files"] == ["report.html"]
    attachments.attach_files(store.engine, study.study_id, {"report.html": b"<p>two</p>"})
    synced = tracker.sync()
    assert synced is not None
    assert synced.written == 1
    with open(client.download_artifacts(run["id"], "report.html")) as file:
        assert file.read() == "<p>two</p>"


def test_the_verdict_is_in_the_run_of_the_study(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker, mlflow_server: MlflowServer
) -> None:
    def attach(best: dict[str, Any]) -> None:
        attachments.attach_files(store.engine, study.study_id, {"best.json": json.dumps(best).encode()})

    def recorded() -> Any:
        assert tracker.sync() is not None
        return record(mlflow_server.uri, study.name)[study.name]

    older = {
        "study": study.name,
        "value": 2.0,
        "default_value": None,
        "trial": 0,
        "step": 20,
        "trials": {"complete": 1},
    }
    attach(older)
    assert not [name for name in recorded()["metrics"] if name.startswith("holdout")]
    members = [{"name": "NHITS", "weight": 1.0}]
    attach({**older, "verdict": None, "members": members})
    assert recorded()["tags"]["castpool.verdict"] == "none: the holdout was not judged"
    attach({**older, "verdict": verdict_of(naive=100.0).to_json(), "members": members})
    run = recorded()
    assert run["tags"]["castpool.verdict"].startswith("better than seasonal naive by 10 %")
    assert run["tags"]["castpool.delivered"] == "single best"
    assert run["tags"]["castpool.members"] == '{"NHITS": 1.0}'
    assert f"{study.name}: " in run["tags"]["mlflow.note.content"]
    assert [point[:2] for point in run["metrics"]["holdout.mae.winner"]] == [(1, 90.0)]
    assert [point[:2] for point in run["metrics"]["holdout.gain.seasonal_naive"]] == [(1, pytest.approx(0.1))]

    again = Tracker(store, study, mlflow_server.uri).sync()
    assert again is not None
    assert again.written == 0
    assert record(mlflow_server.uri, study.name)[study.name] == run
    # A later result counts more trials: its verdict is the one that MLflow shows.
    attach({**older, "trials": {"complete": 2}, "verdict": verdict_of(naive=91.0).to_json(), "members": members})
    later = recorded()
    assert [point[0] for point in later["metrics"]["holdout.gain.seasonal_naive"]] == [1, 2]
    shown = tracking_client(mlflow_server.uri).get_run(later["id"]).data.metrics
    assert shown["holdout.gain.seasonal_naive"] == pytest.approx(1 - 90 / 91)


def test_completeness_is_a_measure(
    store: Store, study: StoredStudy, three: list[optuna.Trial], tracker: Tracker
) -> None:
    def completeness() -> float | None:
        return next(measure.value for measure in read_measures(store, study) if measure.name == "mlflow_completeness")

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
    assert "castpool sync adds them later" in str(raised.value)
    assert slots.count(store.engine, study.study_id).ended == 0


def test_runs_that_are_deleted_or_added_in_mlflow_do_no_harm(
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
    parents = {after[f"trial {number}"]["tags"]["mlflow.parentRunId"] for number in range(3)}
    assert parents == {after[study.name]["id"]} != {before[study.name]["id"]}


def test_what_mlflow_would_refuse_is_written_otherwise(
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
