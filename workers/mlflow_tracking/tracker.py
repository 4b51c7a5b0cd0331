"""A study in MLflow: a parent run for the study and a child run for each attempt, written from the storage alone.

Synchronization adds what MLflow lacks and changes nothing else, so a second one has no effect. The synchronizing
process holds a lock in the database, so no two processes create the same run. Runs are found by their tags. Times of
metrics come from the storage, so a metric that is written twice is one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.storage.connection.advisory_lock import hold_lock
from castpool.storage.files.artifacts import PostgresArtifactStore
from castpool.storage.files.attachments import Attachment, list_attachments, read_attachment
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.studies import StoredStudy
from castpool.workers.mlflow_tracking import study_run, trial_run
from castpool.workers.mlflow_tracking.client import TrackingError, describe_error, tracking_client
from castpool.workers.mlflow_tracking.model_registry import register_champion
from castpool.workers.mlflow_tracking.run_writer import MAX_TAG, RunWriter
from castpool.workers.mlflow_tracking.study_result import ResultReader
from castpool.workers.mlflow_tracking.trial_run import to_milliseconds
from castpool.workers.results.archive import MODEL_FILE

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDY_TAG, TRIAL_TAG, FILE_TAG = "castpool.study", "castpool.trial", "castpool.file"
PARENT_TAG = "mlflow.parentRunId"
# The study attribute that records the state of MLflow (`Synced`).
KEPT = attributes.MLFLOW
ENDED = ("FINISHED", "FAILED", "KILLED")
PAGE = 1000


@dataclass(frozen=True)
class Synced:
    """The state of a study in MLflow after a synchronization.

    Attributes:
        experiment: the name of the experiment.
        run_id: the run of the study.
        attempts: the number of attempts that have ended.
        runs: the number of ended attempts whose runs are complete.
        written: the number of runs, files and models that this synchronization has created or changed.
    """

    experiment: str
    run_id: str
    attempts: int
    runs: int
    written: int


class Tracker:
    """Synchronizes one study with MLflow.

    A tracker remembers which runs are complete: a further synchronization reads and writes only what is new.

    Args:
        store: contains the study.
        stored: the study.
        uri: MLflow's address.
    """

    def __init__(self, store: Store, stored: StoredStudy, uri: str) -> None:
        self._store = store
        self._stored = stored
        self._uri = uri
        self._client = tracking_client(uri)
        self._writer = RunWriter(self._client)
        self._trials = PoolStorage(store.engine)
        self._result = ResultReader(store.engine)
        self._pictures = PostgresArtifactStore(store.engine)
        self._forget()

    def sync(self) -> Synced | None:
        """Add what MLflow lacks; return None if another process is synchronizing the study.

        Raises:
            TrackingError: MLflow does not answer, or refuses a request.
        """
        import requests
        from mlflow.exceptions import MlflowException

        try:
            with hold_lock(self._store.engine, "mlflow", self._stored.study_id) as is_ours:
                if not is_ours:
                    self._forget()  # the other process creates runs that this one has not seen
                    return None
                synced = self._sync()
        except (MlflowException, requests.RequestException) as error:
            self._forget()
            remedy = "the storage has all data, and castpool sync adds them later."
            raise TrackingError(f"tracking_uri: {describe_error(error, self._uri)}; {remedy}") from error
        except BaseException:
            self._forget()
            raise
        self._remember(synced)
        return synced

    def _forget(self) -> None:
        self._parent: Run | None = None
        self._experiment = ""
        self._children: dict[int, str] = {}
        self._complete: set[int] = set()
        self._steps: dict[int, int] = {}
        self._logged: set[tuple[str, int]] = set()
        self._written = 0

    def _remember(self, synced: Synced) -> None:
        """Record the state of MLflow as an attribute of the study, for `castpool status`."""
        kept = {"experiment": synced.experiment, "run_id": synced.run_id, "runs": synced.runs}
        if self._trials.get_study_user_attrs(self._stored.study_id).get(KEPT) != kept:
            self._trials.set_study_user_attr(self._stored.study_id, KEPT, kept)

    def _sync(self) -> Synced:
        self._written = 0
        trials = self._trials.get_all_trials(self._stored.study_id, deepcopy=False)
        if self._parent is None:
            self._experiment = self._find_experiment()
            runs = list(self._search(f"tags.`{STUDY_TAG}` = '{self._stored.key}'"))
            self._parent = self._find_parent(runs, trials)
            self._find_children(runs, self._parent.info.run_id)
        run_id = self._parent.info.run_id
        for trial in trials:
            if trial.number not in self._complete and trial.state != TrialState.WAITING:
                self._write_attempt(run_id, trial)
        self._write_study(self._parent, trials)
        finished = sum(trial.state.is_finished() for trial in trials)
        return Synced(self._stored.name, run_id, finished, len(self._complete), self._written)

    def _find_experiment(self) -> str:
        name = self._stored.name
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            # By default MLflow displays the pages for language models.
            return str(self._client.create_experiment(name, tags={"mlflow.experimentKind": "custom_model_development"}))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _find_parent(self, runs: Sequence[Run], trials: Sequence[FrozenTrial]) -> Run:
        """Return the run of the study; create it if it is missing. Of several, keep the one that has children."""
        children = [run.data.tags.get(PARENT_TAG) for run in runs if TRIAL_TAG in run.data.tags]
        parents = [run for run in runs if TRIAL_TAG not in run.data.tags and PARENT_TAG not in run.data.tags]
        parents.sort(key=lambda run: -children.count(run.info.run_id))
        for duplicate in parents[1:]:
            self._client.delete_run(duplicate.info.run_id)
        if parents:
            return parents[0]
        started = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
        self._written += 1
        return self._client.create_run(
            self._experiment,
            start_time=to_milliseconds(min(started)) if started else None,
            tags={STUDY_TAG: self._stored.key},
            run_name=self._stored.name,
        )

    def _find_children(self, runs: Sequence[Run], parent_id: str) -> None:
        # Complete runs come first: of two runs that a repeated request has created, the complete one is kept.
        for run in sorted(runs, key=lambda run: run.info.status not in ENDED):
            if TRIAL_TAG not in run.data.tags:
                continue
            number, run_id = int(run.data.tags[TRIAL_TAG]), run.info.run_id
            if number in self._children:
                self._client.delete_run(run_id)
                continue
            self._children[number] = run_id
            if run.data.tags.get(PARENT_TAG) != parent_id:  # its parent was deleted in MLflow
                self._client.set_tag(run_id, PARENT_TAG, parent_id)
            if run.info.status in ENDED:
                self._complete.add(number)

    def _search(self, condition: str) -> Iterator[Run]:
        """Yield the experiment's runs that fulfil a condition, the oldest first."""
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, max_results=PAGE, order_by=["attributes.start_time"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _write_attempt(self, parent_id: str, trial: FrozenTrial) -> None:
        """Write the current state of an attempt; its run ends only after everything is written."""
        run_id = self._children.get(trial.number)
        if run_id is None:
            tags = {PARENT_TAG: parent_id, STUDY_TAG: self._stored.key, TRIAL_TAG: str(trial.number)}
            started = to_milliseconds(trial.datetime_start)
            name = f"trial {trial.number}"
            run_id = self._client.create_run(self._experiment, started, tags, name).info.run_id
            self._children[trial.number] = run_id
        after = self._steps.get(trial.number, -1)
        metrics = trial_run.trial_metrics(trial, after)
        if metrics:
            self._writer.write_metrics(run_id, metrics)
            self._steps[trial.number] = trial.last_step or 0
        if after < 0 or trial.state.is_finished():
            # MLflow's parameters cannot change: without a configuration, the sampled parameters are written at the end.
            if trial.state.is_finished() or attributes.CONFIG in trial.user_attrs:
                self._writer.write_params(run_id, trial_run.trial_params(trial))
            self._writer.write_tags(run_id, trial_run.trial_tags(trial, self._stored.dataset))
        if trial.state.is_finished():
            self._add_pictures(run_id, trial)
            ended = to_milliseconds(trial.datetime_complete)
            self._client.set_terminated(run_id, trial_run.trial_status(trial), end_time=ended)
            self._complete.add(trial.number)
            self._written += 1

    def _write_study(self, parent: Run, trials: Sequence[FrozenTrial]) -> None:
        view = snapshot.take(self._store.engine, self._stored.study_id)
        run_id, known = parent.info.run_id, parent.data
        params = study_run.study_params(self._stored)
        if params.keys() - known.params.keys():
            self._writer.write_params(run_id, params)
            known.params.update({name: str(value) for name, value in params.items()})
        files = list_attachments(self._store.engine, self._stored.study_id)
        best = self._result.read(files)
        found = study_run.study_metrics(view, best)
        metrics = [metric for metric in found if (metric.key, metric.step) not in self._logged]
        self._writer.write_metrics(run_id, metrics)
        self._logged.update((metric.key, metric.step) for metric in metrics)
        tags = study_run.study_tags(self._stored, view, best)
        changed = {name: value for name, value in tags.items() if known.tags.get(name) != value[:MAX_TAG]}
        self._writer.write_tags(run_id, changed)
        known.tags.update({name: value[:MAX_TAG] for name, value in changed.items()})
        self._add_files(parent, files)
        if (parent.info.status in ENDED) != view.counts.is_done:
            ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
            if view.counts.is_done:
                self._client.set_terminated(run_id, "FINISHED", end_time=to_milliseconds(max(ended, default=None)))
            else:
                self._client.update_run(run_id, status="RUNNING")  # the study's budget was raised
            self._parent = self._client.get_run(run_id)
            self._written += 1

    def _add_pictures(self, run_id: str, trial: FrozenTrial) -> None:
        for meta in optuna.artifacts.get_all_artifact_meta(trial, storage=self._trials):
            # Artifacts of other programs may be in another artifact store.
            with suppress(ArtifactNotFound), self._pictures.open_reader(meta.artifact_id) as reader:
                self._writer.write_file(run_id, meta.filename, reader.read())

    def _add_files(self, parent: Run, files: Sequence[Attachment]) -> None:
        """Copy the study's files to its run and register its model, unless MLflow has them."""
        for file in files:
            tag = f"{FILE_TAG}.{file.name}"
            if parent.data.tags.get(tag) == file.digest:
                continue
            if file.name == MODEL_FILE:
                register_champion(self._client, parent.info.run_id, self._store, self._stored, file)
            else:
                self._writer.write_file(parent.info.run_id, file.name, read_attachment(self._store.engine, file))
            self._writer.write_tags(parent.info.run_id, {tag: file.digest})  # only after the file is complete
            parent.data.tags[tag] = file.digest
            self._written += 1
