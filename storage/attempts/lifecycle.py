"""Attempts at claimed slots: how a trial begins, and how it ends together with its slot.

All other code uses `optuna.storages.BaseStorage`; only this package knows the class behind it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL

from castpool import attributes
from castpool.private_api.optuna import forget_cached_trials, storage_of, study_id_of, tell_trial, trial_id_of
from castpool.storage.budget import slots
from castpool.storage.budget.slots import Allowance, Claim
from castpool.storage.connection.engine import engine_options
from castpool.storage.errors import SchemaVersionError
from castpool.storage.optuna_storage.owned_trial import SlotEnding
from castpool.storage.optuna_storage.pool_storage import PoolStorage


def create_tables(url: URL) -> None:
    """Let Optuna create its tables, or check the existing ones.

    The caller must make sure that no other process creates them at that moment.

    Raises:
        SchemaVersionError: the tables are of another Optuna.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            storage = RDBStorage(
                url.render_as_string(hide_password=False), engine_kwargs=engine_options(url, "castpool")
            )
        except RuntimeError as error:  # Optuna's message names the command that upgrades the tables
            raise SchemaVersionError(f"storage: {error}") from error
    storage.remove_session()
    storage.engine.dispose()


def begin_trial(
    study: optuna.Study, claim: Claim, worker: Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> optuna.Trial:
    """Begin the attempt at a claimed slot: a new trial, attached to the slot.

    A retry gets the parameters of the attempt before it, and what that one had reported up to the checkpoint.

    Args:
        study: the slot's study.
        claim: the slot.
        worker: JSON values that identify the worker; stored with the trial.
        params: stored parameters that take precedence over the slot's.

    Raises:
        LeaseLostError: another worker has the slot's lease.
    """
    storage = pool_storage(study)
    forget_cached_trials(study)  # as `ask` does: the sampler reads the trials of now
    note = {"slot": claim.slot, "attempt": claim.attempt, **worker}
    fixed = dict(params or claim.params or {})
    reports: dict[int, float] = {}
    rungs: dict[str, Any] = {}
    if params is None and claim.retry_of is not None:
        before = storage.get_trial(claim.retry_of)
        note["retry_of"] = before.number
        # Its worker may have crashed before all of its parameters were suggested.
        fixed |= before.system_attrs.get(attributes.FIXED_PARAMS, {}) | before.params
        reports = {step: loss for step, loss in before.intermediate_values.items() if step <= claim.checkpoint_step}
        rungs = {
            key: loss
            for key, loss in before.system_attrs.items()
            if key.startswith(attributes.COMPLETED_RUNG) and loss in reports.values()
        }
    # Straight to RUNNING: a WAITING trial in between could be taken by any other worker.
    template = create_trial(
        state=TrialState.RUNNING,
        system_attrs=rungs | ({attributes.FIXED_PARAMS: fixed} if fixed else {}),
        user_attrs={attributes.ATTEMPT: note},
        intermediate_values=reports,
    )
    template.datetime_start = None  # set by the server's clock
    trial_id = storage.create_in_slot(claim, template, yields=claim.retry_of is None and not fixed)
    if trial_id is None:  # the user has enqueued trials through Optuna
        for queued in storage.get_all_trials(study_id_of(study), deepcopy=False, states=(TrialState.WAITING,)):
            if storage.begin_in_slot(claim, queued, note):
                return optuna.Trial(study, trial_id_of(queued))
        trial_id = storage.create_in_slot(claim, template)
    assert trial_id is not None
    return optuna.Trial(study, trial_id)


def end_trial(
    study: optuna.Study, trial: optuna.Trial, claim: Claim, state: TrialState, value: float | None, **end: Any
) -> None:
    """End an attempt and its slot, or without an outcome open the slot again, in one statement.

    Args:
        study: the study.
        trial: the attempt.
        claim: the slot.
        state: how the trial ends.
        value: of a complete trial.
        **end: every other field of `SlotEnding`.

    Raises:
        LeaseLostError: another worker has the slot's lease.
        UpdateFinishedTrialError: the trial has ended already.
    """
    pool_storage(study).end_with_slot(trial_id_of(trial), SlotEnding(claim, **end))
    try:
        tell_trial(study, trial, value, state)  # `tell` without reading the ended trial once more
    except ValueError as error:
        if not storage_of(study).get_trial(trial_id_of(trial)).state.is_finished():
            raise
        raise UpdateFinishedTrialError(str(error)) from None  # noticed by a beat before


def beat(study: optuna.Study, trial: optuna.Trial, claim: Claim, step: int) -> Allowance:
    """Prolong the lease of an attempt's slot as `slots.beat` does, and write the reports that are still gathered.

    Raises:
        LeaseLostError: another worker has the slot's lease.
        UpdateFinishedTrialError: the trial has ended already.
    """
    storage = pool_storage(study)
    storage.flush_reports(trial_id_of(trial))
    return slots.beat(storage.engine, claim, step)


def keep_checkpoint(study: optuna.Study, trial: optuna.Trial, claim: Claim, checkpoint: str, step: int) -> str | None:
    """Let the next attempt resume from an artifact, with all that this one has reported until then.

    Returns:
        The artifact that it replaces.

    Raises:
        LeaseLostError: another worker has the slot's lease.
        UpdateFinishedTrialError: the trial has ended already.
    """
    storage = pool_storage(study)
    storage.secure(trial_id_of(trial))  # a crash must not lose a report that the checkpoint includes
    return slots.keep_checkpoint(storage.engine, claim, checkpoint, step)


def note(study: optuna.Study, trial: optuna.Trial, user_attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a trial together with the next write for it."""
    pool_storage(study).gather_user_attrs(trial_id_of(trial), user_attrs)


def pool_storage(study: optuna.Study) -> PoolStorage:
    """Return the storage of a study that was opened by a `Store`."""
    storage = storage_of(study)
    assert isinstance(storage, PoolStorage)
    return storage
