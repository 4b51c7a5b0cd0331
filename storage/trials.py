"""Trials of claimed slots: how an attempt begins, and how it ends together with its slot.

Everything else speaks to `optuna.storages.BaseStorage`; which class stands behind it is known in this package alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study._tell import _tell_with_warning
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL

from storage import slots
from storage.engine import engine_options
from storage.errors import SchemaVersionError
from storage.optuna_trials import PoolStorage
from storage.own_trial import SlotEnd
from storage.slots import Allowance, Claim


def create_tables(url: URL) -> None:
    """Let Optuna create its tables, or check that those there are its own.

    Not safe against a second process that creates them at that moment.

    Raises:
        SchemaVersionError: there are tables of another Optuna.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            storage = RDBStorage(
                url.render_as_string(hide_password=False), engine_kwargs=engine_options(url, "castpool")
            )
        except RuntimeError as error:  # Optuna's own sentence, with the command that upgrades the tables
            raise SchemaVersionError(f"storage: {error}") from error
    storage.remove_session()
    storage.engine.dispose()


def begin_trial(
    study: optuna.Study, claim: Claim, worker: Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> optuna.Trial:
    """Start the attempt for a claimed slot: a new trial, attached to it, whose parameters are given for a retry.

    What the attempt before had reported up to the checkpoint is the retry's own.

    Args:
        study: the study that the slot belongs to.
        claim: the slot; a retry repeats the parameters of the attempt before.
        worker: JSON values that say who works; kept with the trial.
        params: stored parameters that are trained in any case.

    Raises:
        LeaseLostError: the slot has passed on.
    """
    storage = pool_storage(study)
    study._thread_local.cached_all_trials = None  # as `ask` does: the sampler looks at what there is now
    note = {"slot": claim.slot, "attempt": claim.attempt, **worker}
    fixed = dict(params or claim.params or {})
    reports: dict[int, float] = {}
    rungs: dict[str, Any] = {}
    if params is None and claim.retry_of is not None:
        before = storage.get_trial(claim.retry_of)
        note["retry_of"] = before.number
        # It may have died with its parameters half asked for, or, a retry itself, with none of them.
        fixed |= before.system_attrs.get("fixed_params", {}) | before.params
        reports = {step: own for step, own in before.intermediate_values.items() if step <= claim.checkpoint_step}
        rungs = {
            key: own
            for key, own in before.system_attrs.items()
            if key.startswith("completed_rung_") and own in reports.values()
        }
    # Straight to RUNNING: a WAITING trial in between could be taken by any other worker.
    template = create_trial(
        state=TrialState.RUNNING,
        system_attrs=rungs | ({"fixed_params": fixed} if fixed else {}),
        user_attrs={"castpool": note},
        intermediate_values=reports,
    )
    template.datetime_start = None  # the server's clock says when
    trial_id = storage.create_in_slot(claim, template, yields=claim.retry_of is None and not fixed)
    if trial_id is None:  # somebody has enqueued others through Optuna
        for queued in storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.WAITING,)):
            if storage.begin_in_slot(claim, queued, note):
                return optuna.Trial(study, queued._trial_id)
        trial_id = storage.create_in_slot(claim, template)
    assert trial_id is not None
    return optuna.Trial(study, trial_id)


def end_trial(
    study: optuna.Study, trial: optuna.Trial, claim: Claim, state: TrialState, value: float | None, **end: Any
) -> None:
    """Tell how an attempt ended and end its slot, or without an outcome open it again: all of it, or nothing.

    Args:
        study: the study.
        trial: the attempt.
        claim: the slot.
        state: how the trial ends.
        value: of a complete trial.
        **end: every other field of `SlotEnd`.

    Raises:
        LeaseLostError: the slot is somebody else's now.
        UpdateFinishedTrialError: somebody has ended the trial.
    """
    pool_storage(study).end_with_slot(trial._trial_id, SlotEnd(claim, **end))
    try:
        _tell_with_warning(study, trial, value, state)  # `tell` without reading the ended trial once more
    except ValueError as error:
        if not study._storage.get_trial(trial._trial_id).state.is_finished():
            raise
        raise UpdateFinishedTrialError(str(error)) from None  # noticed by a beat before


def beat(study: optuna.Study, trial: optuna.Trial, claim: Claim, step: int) -> Allowance:
    """Prolong the lease of an attempt's slot as `slots.beat` does, and let others see what is reported by then.

    Raises:
        LeaseLostError: the slot is somebody else's now.
        UpdateFinishedTrialError: somebody has ended the trial.
    """
    storage = pool_storage(study)
    storage.flush_reports(trial._trial_id)
    return slots.beat(storage.engine, claim, step)


def keep_checkpoint(study: optuna.Study, trial: optuna.Trial, claim: Claim, checkpoint: str, step: int) -> str | None:
    """Let the next attempt go on from an artifact, and with it from all that this one has reported until then.

    Returns:
        The artifact that it replaces.

    Raises:
        LeaseLostError: the slot is somebody else's now.
        UpdateFinishedTrialError: somebody has ended the trial.
    """
    storage = pool_storage(study)
    storage.secure(trial._trial_id)  # whoever goes on from the checkpoint knows of no report that a crash has taken
    return slots.keep_checkpoint(storage.engine, claim, checkpoint, step)


def note(study: optuna.Study, trial: optuna.Trial, user_attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a trial together with what is written next for it."""
    pool_storage(study).gather_user_attrs(trial._trial_id, user_attrs)


def pool_storage(study: optuna.Study) -> PoolStorage:
    """Return the storage of a study that one of our stores has opened."""
    storage = study._storage
    assert isinstance(storage, PoolStorage)
    return storage
