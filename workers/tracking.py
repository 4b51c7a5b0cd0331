"""A study in MLflow: a parent run, and a child run for every attempt, made of the storage and of nothing else.

Whatever MLflow misses is added, whatever is there stays as it is: bringing it up to date twice changes nothing. Who
does so holds a lock in the database, so that no two processes make the same run. Runs are found by their tags, and each
metric has a time that the storage says, so that one written twice is the same row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, TrialState

from storage import snapshot
from storage.artifacts import PostgresArtifactStore
from storage.attachments import attachments, content_of
from storage.locks import holding
from storage.optuna_trials import PoolStorage
from storage.store import Store
from storage.studies import StoredStudy
from workers import attempt_record, study_record
from workers.attempt_record import milliseconds
from workers.run_writer import LONGEST_TAG, RunWriter
from workers.tracked_model import MODEL_FILE, register_champion
from workers.tracking_client import TrackingError, in_words, tracking_client

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDY_TAG, TRIAL_TAG, FILE_TAG = "castpool.study", "castpool.trial", "castpool.file"
PARENT_TAG = "mlflow.parentRunId"
# Where the study itself remembers what MLflow has of it (`Synced`).
KEPT = "castpool:mlflow"
ENDED = ("FINISHED", "FAILED", "KILLED")
PAGE = 1000


@dataclass(frozen=True)
class Synced:
    """What MLflow has of a study now.

    Attributes:
        experiment: its name.
        run_id: the study's own run.
        attempts: those that have ended.
        runs: those of them whose run has all there is.
        written: how many runs, files and models were made or added to this time.
    """

    experiment: str
    run_id: str
    attempts: int
    runs: int
    written: int


class Tracker:
    """Brings one study in MLflow up to what the storage has, as often as it is asked.

    It remembers which runs have all there is, so that asking again costs what is new.

    Args:
        store: where the study is.
        stored: the study.
        uri: where MLflow is.
    """

    def __init__(self, store: Store, stored: StoredStudy, uri: str) -> None:
        self._store = store
        self._stored = stored
        self._uri = uri
        self._client = tracking_client(uri)
        self._writer = RunWriter(self._client)
        self._trials = PoolStorage(store.engine)
        self._pictures = PostgresArtifactStore(store.engine)
        self._forget()

    def sync(self) -> Synced | None:
        """Add what is missing. None where another process is doing just that.

        Raises:
            TrackingError: MLflow does not answer, or refuses.
        """
        import requests
        from mlflow.exceptions import MlflowException

        try:
            with holding(self._store.engine, "mlflow", self._stored.study_id) as is_ours:
                if not is_ours:
                    self._forget()  # whoever holds the lock makes runs that this process has not seen
                    return None
                synced = self._sync()
        except (MlflowException, requests.RequestException) as error:
            self._forget()
            remedy = "the storage has everything, and castpool sync adds it later."
            raise TrackingError(f"tracking_uri: {in_words(error, self._uri)}; {remedy}") from error
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
        """Write down what MLflow has, for `castpool status` and whoever looks at the study."""
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
        finished = sum(own.state.is_finished() for own in trials)
        return Synced(self._stored.name, run_id, finished, len(self._complete), self._written)

    def _find_experiment(self) -> str:
        name = self._stored.name
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            # By default its pages are those for language models.
            return str(self._client.create_experiment(name, tags={"mlflow.experimentKind": "custom_model_development"}))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _find_parent(self, runs: Sequence[Run], trials: Sequence[FrozenTrial]) -> Run:
        """Return the study's own run, made where there is none; of several the one that has children."""
        children = [own.data.tags.get(PARENT_TAG) for own in runs if TRIAL_TAG in own.data.tags]
        parents = [own for own in runs if TRIAL_TAG not in own.data.tags and PARENT_TAG not in own.data.tags]
        parents.sort(key=lambda own: -children.count(own.info.run_id))
        for double in parents[1:]:
            self._client.delete_run(double.info.run_id)
        if parents:
            return parents[0]
        started = [own.datetime_start for own in trials if own.datetime_start is not None]
        self._written += 1
        return self._client.create_run(
            self._experiment,
            start_time=milliseconds(min(started)) if started else None,
            tags={STUDY_TAG: self._stored.key},
            run_name=self._stored.name,
        )

    def _find_children(self, runs: Sequence[Run], parent_id: str) -> None:
        # Those that have all there is come first: of a request whose answer was lost, made again, that one is kept.
        for run in sorted(runs, key=lambda own: own.info.status not in ENDED):
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
        """Yield the experiment's runs of a kind, the first made first."""
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
        """Write an attempt as far as it has come; its run ends only when all of it is there."""
        run_id = self._children.get(trial.number)
        if run_id is None:
            tags = {PARENT_TAG: parent_id, STUDY_TAG: self._stored.key, TRIAL_TAG: str(trial.number)}
            started = milliseconds(trial.datetime_start)
            name = f"trial {trial.number}"
            run_id = self._client.create_run(self._experiment, started, tags, name).info.run_id
            self._children[trial.number] = run_id
        after = self._steps.get(trial.number, -1)
        metrics = attempt_record.metrics_of(trial, after)
        if metrics:
            self._writer.metrics(run_id, metrics)
            self._steps[trial.number] = trial.last_step or 0
        if after < 0 or trial.state.is_finished():
            # A parameter cannot change: what was sampled stands in for the configuration only where none ever comes.
            if trial.state.is_finished() or "config" in trial.user_attrs:
                self._writer.params(run_id, attempt_record.params_of(trial))
            self._writer.tags(run_id, attempt_record.tags_of(trial, self._stored.dataset))
        if trial.state.is_finished():
            self._add_pictures(run_id, trial)
            ended = milliseconds(trial.datetime_complete)
            self._client.set_terminated(run_id, attempt_record.status_of(trial), end_time=ended)
            self._complete.add(trial.number)
            self._written += 1

    def _write_study(self, parent: Run, trials: Sequence[FrozenTrial]) -> None:
        view = snapshot.take(self._store.engine, self._stored.study_id)
        run_id, known = parent.info.run_id, parent.data
        params = study_record.params_of(self._stored)
        if params.keys() - known.params.keys():
            self._writer.params(run_id, params)
            known.params.update({name: str(value) for name, value in params.items()})
        metrics = [own for own in study_record.metrics_of(view) if (own.key, own.step) not in self._logged]
        self._writer.metrics(run_id, metrics)
        self._logged.update((own.key, own.step) for own in metrics)
        tags = study_record.tags_of(self._stored, view)
        changed = {name: value for name, value in tags.items() if known.tags.get(name) != value[:LONGEST_TAG]}
        self._writer.tags(run_id, changed)
        known.tags.update({name: value[:LONGEST_TAG] for name, value in changed.items()})
        self._add_files(parent)
        if (parent.info.status in ENDED) != view.counts.is_done:
            ended = [own.datetime_complete for own in trials if own.datetime_complete is not None]
            if view.counts.is_done:
                self._client.set_terminated(run_id, "FINISHED", end_time=milliseconds(max(ended, default=None)))
            else:
                self._client.update_run(run_id, status="RUNNING")  # its budget was raised
            self._parent = self._client.get_run(run_id)
            self._written += 1

    def _add_pictures(self, run_id: str, trial: FrozenTrial) -> None:
        for meta in optuna.artifacts.get_all_artifact_meta(trial, storage=self._trials):
            # What others have attached may be in a store of theirs.
            with suppress(ArtifactNotFound), self._pictures.open_reader(meta.artifact_id) as reader:
                self._writer.file(run_id, meta.filename, reader.read())

    def _add_files(self, parent: Run) -> None:
        """Copy the study's files to its run, and register its model, where they are not there yet."""
        for file in attachments(self._store.engine, self._stored.study_id):
            tag = f"{FILE_TAG}.{file.name}"
            if parent.data.tags.get(tag) == file.digest:
                continue
            if file.name == MODEL_FILE:
                register_champion(self._client, parent.info.run_id, self._store, self._stored, file)
            else:
                self._writer.file(parent.info.run_id, file.name, content_of(self._store.engine, file))
            self._writer.tags(parent.info.run_id, {tag: file.digest})  # after all of it is there
            parent.data.tags[tag] = file.digest
            self._written += 1
