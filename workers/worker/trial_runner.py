"""What a worker needs at one study: it claims a slot of the study, runs its trial and records how the trial ended."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from structlog.contextvars import bind_contextvars

from castpool import attributes
from castpool.sampler_policies.rules.choose_pruner import build_pruner
from castpool.sampler_policies.samplers.build import build_sampler
from castpool.storage.attempts.lifecycle import beat, begin_trial, end_trial, note
from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.budget.default_slot import is_default_slot
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.slots import Claim, SlotCounts
from castpool.storage.errors import LeaseLostError
from castpool.storage.files import artifacts
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.reporting.validation_plot import attach_validation_plot
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.logs import about, get_logger
from castpool.workers.support.packages import installed_versions
from castpool.workers.support.signals import StopRequest
from castpool.workers.training import memory
from castpool.workers.training.checkpoint_store import CheckpointStore
from castpool.workers.training.ending import Ending
from castpool.workers.training.failures import ALL_BAD, BAD_CONFIGURATION, OUT_OF_MEMORY
from castpool.workers.training.objective import TrainingResult, ending_after_error, free_memory, train
from castpool.workers.training.phase_timer import PhaseTimer
from castpool.workers.worker.heartbeat import Heartbeat
from castpool.workers.worker.stored_job import load_job
from castpool.workers.worker.trial_attributes import best_value, collect_attributes, describe_result, find_sampler

log = get_logger("worker")

# Short beside the lease of a minute: a lost slot waits little longer than if each claim looked for expired leases.
REAP_SECONDS = 10.0
STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,
}


class TrialRunner:
    """Runs the trials of one study in one worker process. As a context manager it is in the worker registry.

    `run` is one trial: begin, train, finish. `is_prunable` decides which trials the pruner may stop.

    Raises:
        InputError: the study needs Python objects that this worker was not given.
    """

    def __init__(
        self,
        store: Store,
        stored: StoredStudy,
        stop: StopRequest,
        objects: PythonObjects | None = None,
        spent: PhaseTimer | None = None,
    ) -> None:
        self.store = store
        self.stored = stored
        self.stop = stop
        self.job = load_job(store, stored, objects)
        self.artifacts = artifacts.open_artifacts(store.engine, self.job.spec.artifacts)
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.spent = spent or PhaseTimer()
        self._reaped_at = -math.inf

    def __enter__(self) -> TrialRunner:
        self.worker_id = worker_registry.join(self.store.engine, self.stored.study_id, self.host, self.pid)
        self.study = self._load_study()
        return self

    def __exit__(self, *error: object) -> None:
        worker_registry.leave(self.store.engine, self.worker_id)

    def counts(self) -> SlotCounts:
        """Return how many slots of the study are open, leased and ended."""
        return slots.count(self.store.engine, self.stored.study_id)

    def beat(self) -> None:
        """Tell the worker registry that this worker is alive, between two trials."""
        worker_registry.beat(self.store.engine, self.worker_id)

    def claim(self) -> Claim | None:
        """Claim the study's next open slot; None where none is open.

        Every ``REAP_SECONDS``, and where no slot is open, slots with an expired lease are opened first.
        """
        engine, study_id = self.store.engine, self.stored.study_id
        if time.monotonic() - self._reaped_at < REAP_SECONDS and (claim := self._claim_next()) is not None:
            return claim
        reaper.reap(engine, study_id)
        artifacts.delete_orphaned_checkpoints(engine, study_id, slots.LEASE_SECONDS)
        self._reaped_at = time.monotonic()
        return self._claim_next()

    def _claim_next(self) -> Claim | None:
        return slots.claim(self.store.engine, self.stored.study_id, self.worker_id)

    def begin(self, claim: Claim, params: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Start the trial of a claimed slot.

        Args:
            claim: the slot.
            params: stored parameters, as Ray's searcher chose them; by default the slot's, or the sampler's.

        Raises:
            LeaseLostError: another worker has the lease.
        """
        who = {"worker": self.worker_id, "host": self.host, "pid": self.pid}
        return begin_trial(self.study, claim, who, params)

    def run(self, claim: Claim) -> None:
        """Train the trial of a claimed slot, and record how it ended. A lost lease is logged, not raised."""
        with about(study=self.stored.name, slot=claim.slot, attempt=claim.attempt, worker=self.worker_id, trial=None):
            self._run(claim)

    def _run(self, claim: Claim) -> None:
        try:
            with self.spent.on("sampling"):
                trial = self.begin(claim)
            bind_contextvars(trial=trial.number)
            log.info("trial started", **({"resumed_at": claim.checkpoint_step} if claim.checkpoint else {}))
            sampler = find_sampler(self.study, trial, claim)
            note(self.study, trial, {attributes.SAMPLER: sampler, attributes.VERSIONS: installed_versions()})
            checkpoints = CheckpointStore(self.study, trial, claim, self.artifacts)
            memory.start_measuring()
            with self.heartbeat(trial, claim) as heartbeat:
                trained = complete_if_best(self._train(trial, claim, heartbeat, checkpoints), self.study)
                if trained.ending.failure == OUT_OF_MEMORY:
                    free_memory()
                self.stop.wait(trained.ending.pause_seconds)  # the heartbeat keeps the lease
                self._attach_plot(trial, trained)
            self.finish(trial, claim, trained, {attributes.PHASE_SECONDS: self.spent.take()})
            log.info("trial ended", **describe_result(trained))
            if not trained.ending.resumes_from_checkpoint:
                checkpoints.forget()
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            # Another worker has ended this attempt; this worker must write nothing more of it.
            log.warning(str(error))

    def finish(
        self, trial: optuna.Trial, claim: Claim, trained: TrainingResult, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Record how a trial ended, with ``more`` user attributes, and end its slot or release it.

        Raises:
            LeaseLostError: another worker has the lease.
            UpdateFinishedTrialError: another worker has ended the trial.
        """
        ending = trained.ending
        if ending.outcome == Outcome.LOST:
            raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: {ending.reason}")
        # A diverged trial is stored as pruned, so that samplers avoid its parameters.
        state = STATES.get(ending.outcome, TrialState.FAIL)
        end_trial(
            self.study,
            trial,
            claim,
            state,
            trained.value if state == TrialState.COMPLETE else None,
            outcome=None if ending.is_followed else ending.outcome,
            user_attrs={**collect_attributes(trained), **more},
            step=trained.step,
            failure=ending.failure,
            reason=ending.reason,
            keeps_checkpoint=ending.resumes_from_checkpoint,
        )
        if ending.failure == BAD_CONFIGURATION:
            slots.stop_study(self.store.engine, self.stored.study_id, ending.reason or "", ALL_BAD)

    def _attach_plot(self, trial: optuna.Trial, trained: TrainingResult) -> None:
        """Attach a plot of its validation to a trial that is the study's best."""
        if trained.model is None or trained.value >= best_value(self.study):
            return
        try:
            attach_validation_plot(self.store, trial, self.job, trained.model)
        except Exception:  # a missing plot must not fail the trial
            log.warning("the validation plot was not drawn; the trial is kept without it", exc_info=True)

    def is_prunable(self, claim: Claim) -> bool:
        """Return whether the pruner may stop the trial of a slot. The plan may spare the default configuration's trial.

        Slots are numbered from 0 in the order of their first claim. A trial that is not prunable is not stopped by
        patience either; it still reports its losses, and the pruner compares others with it. How many trials a pruner
        waits for before it stops any is its ``n_startup_trials`` (`castpool.sampler_policies.rules.choose_pruner`).
        """
        return not is_default_slot(claim.slot) or not self.job.plan.spares_default

    def heartbeat(self, trial: optuna.Trial, claim: Claim) -> Heartbeat:
        """Return what keeps the lease of a trial alive; a context manager."""
        return Heartbeat(partial(beat, self.study, trial, claim))

    def interruption(self, heartbeat: Heartbeat) -> Callable[[int], Ending | None]:
        """Return a function of the training step: it records the step, and returns how the work must end, or None."""

        def interrupt(step: int) -> Ending | None:
            heartbeat.step = step
            if heartbeat.is_lost:
                return Ending(Outcome.LOST, "lease lost to another worker")
            if self.stop.is_set:
                return Ending(Outcome.STOPPED, "released: worker is shutting down")
            if heartbeat.over is not None:
                return Ending(Outcome.OVER, f"released: {heartbeat.over}")
            return None

        return interrupt

    def _load_study(self) -> optuna.Study:
        plan, objects = self.job.plan, self.job.objects
        # Workers must not draw the same points: the worker's number is used once in a study.
        seed = self.job.spec.seed * 1_000_003 + self.worker_id
        search_space = plan.space.distributions if plan.space is not None else None
        return optuna.load_study(
            study_name=self.stored.name,
            storage=self.store.trials,
            sampler=objects.sampler or build_sampler(plan.decision("sampler"), seed, search_space),
            pruner=objects.pruner or build_pruner(plan.decision("pruner")),
        )

    def _train(
        self, trial: optuna.Trial, claim: Claim, heartbeat: Heartbeat, checkpoints: CheckpointStore
    ) -> TrainingResult:
        try:
            return train(
                self.job,
                trial,
                is_prunable=self.is_prunable(claim),
                interruption=self.interruption(heartbeat),
                checkpoints=checkpoints,
                failures=claim.failures,
                spent=self.spent,
            )
        except UpdateFinishedTrialError:
            raise  # another worker has ended this attempt: not a failure of the training
        except optuna.TrialPruned as error:
            return TrainingResult(Ending(Outcome.PRUNED, str(error)), math.inf, 0, 0.0)
        except Exception as error:
            return TrainingResult(ending_after_error(error, claim.failures), math.inf, 0, 0.0)


def complete_if_best(trained: TrainingResult, study: optuna.Study) -> TrainingResult:
    """Return a training as complete that the pruner or the end of a budget stopped after the study's best loss.

    A trial's value is its best validation loss, so a trial that was stopped early may be the study's best.
    """
    ending = trained.ending
    if ending.outcome not in (Outcome.PRUNED, Outcome.OVER) or not trained.value < best_value(study):
        return trained
    reason = (ending.reason or "").removeprefix("released: ")
    reason = f"{reason}; it counts: its validation loss at step {trained.best_step} is the study's best"
    return replace(trained, ending=Ending(Outcome.COMPLETE, reason))
