"""The Optuna storage that studies are given: Optuna's own RDBStorage, made patient.

Everything else speaks to `optuna.storages.BaseStorage`; which class stands behind it is known here alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL, Engine

from storage.engine import engine_options, patiently
from storage.errors import SchemaVersionError
from storage.slots import Claim

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 600

# What may be asked again when the answer was lost: reading, and writing what is the same when written twice. These
# are the methods that open a session, the private ones too, for Optuna's cache calls those. None calls another.
REPEATABLE = (
    "create_new_study",  # a lost answer makes it a duplicate, which `optuna.create_study` loads
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial",
    "get_trial_param",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_trial_id_from_study_id_trial_number",
    "set_study_user_attr",
    "set_study_system_attr",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "record_heartbeat",
    "_create_new_trial",  # a lost answer leaves a row that nobody fills, for the reaper
    "_get_trials",
    "_get_best_trial_id",
    "_get_stale_trial_ids",
    "_set_trial_param",
)


class PatientStorage(RDBStorage):
    """RDBStorage that waits for a server that is away instead of failing its trial."""

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial. A second write after a lost answer finds the trial ended as asked, and that is no error."""
        plain = super().set_trial_state_values
        attempts = 0

        def write() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return plain(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts == 1 or self.get_trial(trial_id).state != state:
                    raise
                return True

        return patiently(write)

    def use(self, engine: Engine) -> None:
        """Work with the connections of this engine from now on, instead of with others beside them."""
        own, self.engine = self.engine, engine
        self.scoped_session.remove()
        self.scoped_session.configure(bind=engine)
        self._version_manager.engine = engine
        own.dispose()


def _patient(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    def method(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return patiently(lambda: plain(self, *args, **kwargs))

    method.__name__, method.__doc__ = name, plain.__doc__
    return method


for _name in REPEATABLE:
    setattr(PatientStorage, _name, _patient(_name))


def create_tables(url: URL) -> None:
    """Let Optuna create its tables. Not safe against a second process that does the same at that moment.

    Raises:
        SchemaVersionError: there are tables of another Optuna.
    """
    with _optuna_told():
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine_options("castpool"))
    storage.remove_session()
    storage.engine.dispose()


def open_trials(engine: Engine, application_name: str) -> BaseStorage:
    """Return the storage for Optuna studies; the tables must exist.

    Raises:
        SchemaVersionError: they are of another Optuna.
    """
    with _optuna_told():
        storage = PatientStorage(
            engine.url.render_as_string(hide_password=False),
            engine_kwargs=engine_options(application_name),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            skip_table_creation=True,
        )
    storage.use(engine)
    return optuna.storages.get_storage(storage)


@contextmanager
def _optuna_told() -> Iterator[None]:
    with warnings.catch_warnings():
        # Optuna warns that its heartbeat is experimental. Ours is the lease; Optuna's is written for whoever watches
        # with Optuna.
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            yield
        except RuntimeError as error:  # Optuna's own sentence, with the command that upgrades the tables
            raise SchemaVersionError(f"storage: {error}") from error


def begin_trial(
    study: optuna.Study, claim: Claim, worker: Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> optuna.Trial:
    """Start the attempt for a claimed slot: a new trial row, whose parameters are given for a retry.

    Args:
        study: the study that the slot belongs to.
        claim: the slot; a retry repeats the parameters of the attempt before.
        worker: JSON values that say who works; kept with the trial.
        params: stored parameters that are trained in any case.
    """
    storage = study._storage
    study._thread_local.cached_all_trials = None  # as `ask` does: the sampler looks at what there is now
    note = {"slot": claim.slot, "attempt": claim.attempt, **worker}
    fixed = dict(params or claim.params or {})
    if params is None and claim.retry_of is not None:
        before = storage.get_trial(claim.retry_of)
        note["retry_of"] = before.number
        # It may have died with its parameters half asked for, or, a retry itself, with none of them.
        fixed |= before.system_attrs.get("fixed_params", {}) | before.params
    elif not fixed and (queued := study._pop_waiting_trial_id()) is not None:
        storage.set_trial_user_attr(queued, "castpool", note)  # somebody enqueued it through Optuna
        return optuna.Trial(study, queued)
    # Straight to RUNNING: a WAITING trial in between could be taken by any other worker. The note comes with the
    # row, so that a reaper can tell whose it was.
    template = create_trial(
        state=TrialState.RUNNING,
        system_attrs={"fixed_params": fixed} if fixed else {},
        user_attrs={"castpool": note},
    )
    return optuna.Trial(study, storage.create_new_trial(study._study_id, template_trial=template))
