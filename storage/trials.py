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
from sqlalchemy.engine import URL

from storage.engine import engine_options, patiently
from storage.slots import Claim

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 600

# What may be asked again when the answer was lost: reading, and writing what is the same when written twice.
REPEATABLE = (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_all_trials",
    "get_trial",
    "get_n_trials",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_number_from_id",
    "set_study_user_attr",
    "set_study_system_attr",
    "set_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "create_new_trial",  # a lost answer may leave a row that nobody fills; it holds no slot and is no result
    "record_heartbeat",
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


def _patient(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    def method(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return patiently(lambda: plain(self, *args, **kwargs))

    method.__name__, method.__doc__ = name, plain.__doc__
    return method


for _name in REPEATABLE:
    setattr(PatientStorage, _name, _patient(_name))


def create_tables(url: URL) -> None:
    """Let Optuna create its tables. Not safe against a second process that does the same at that moment."""
    dispose(RDBStorage(url.render_as_string(hide_password=False)))


def open_trials(url: URL, application_name: str) -> BaseStorage:
    """Return the storage for Optuna studies; the tables must exist."""
    with _optuna_told():
        storage = PatientStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=engine_options(application_name),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            skip_table_creation=True,
        )
    return optuna.storages.get_storage(storage)


def dispose(storage: BaseStorage) -> None:
    """Close the storage's connections."""
    backend = getattr(storage, "_backend", storage)  # Optuna wraps RDBStorage into its cache
    backend.remove_session()
    backend.engine.dispose()


@contextmanager
def _optuna_told() -> Iterator[None]:
    # Optuna warns that its heartbeat is experimental and meant for `optimize`; ours is the lease, and Optuna's is
    # written for whoever watches with Optuna.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield


def begin_trial(study: optuna.Study, claim: Claim, worker: Mapping[str, Any]) -> optuna.Trial:
    """Start the attempt for a claimed slot: a new trial row, whose parameters are given for a retry.

    Args:
        study: the study that the slot belongs to.
        claim: the slot; a retry repeats the parameters of the attempt before.
        worker: JSON values that say who works; kept with the trial.
    """
    note = {"slot": claim.slot, "attempt": claim.attempt, **worker}
    fixed = claim.params
    if claim.retry_of is not None:
        fixed = study._storage.get_trial(claim.retry_of).params or fixed
        note["retry_of"] = study._storage.get_trial_number_from_id(claim.retry_of)
    if fixed is None:
        with _optuna_told():
            trial = study.ask()
        trial.set_user_attr("castpool", note)
        return trial
    # Straight to RUNNING: a WAITING trial in between could be taken by any other worker.
    template = create_trial(
        state=TrialState.RUNNING, system_attrs={"fixed_params": dict(fixed)}, user_attrs={"castpool": note}
    )
    trial_id = study._storage.create_new_trial(study._study_id, template_trial=template)
    return optuna.Trial(study, trial_id)
