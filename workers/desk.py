"""A worker's desk at one study: what it needs there, and how it fills one of the study's slots."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from structlog.contextvars import bind_contextvars

from sampler_policies.errors import InputError
from sampler_policies.plan import Plan
from sampler_policies.pruners import build_pruner
from sampler_policies.sampler_builder import build_sampler
from storage import artifacts, datasets, reaper, roster, slots
from storage.errors import LeaseLostError
from storage.slots import Claim, SlotCounts
from storage.store import Store
from storage.studies import StoredStudy
from storage.trials import begin_trial, end_trial, note
from workers import memory
from workers.checkpoints import Checkpoints
from workers.extras import Extras
from workers.failures import ALL_BAD, BAD_CONFIGURATION, OUT_OF_MEMORY
from workers.heartbeat import Heartbeat
from workers.job import Job
from workers.logs import about, get_logger
from workers.objective import Trained, ended_by, free_memory, train
from workers.series import Series
from workers.signals import StopRequest
from workers.spec import StudySpec, make_spec
from workers.time_spent import TimeSpent
from workers.trial_notes import best_value, notes, said, sampled_by, versions
from workers.validation_hook import Ending
from workers.validation_plot import attach_plot

log = get_logger("worker")

# Leases last a minute, so nobody waits much longer for the slots of the dead than if each claim looked for them.
REAP_SECONDS = 10.0
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}


class Desk:
    """Where one worker process works on one study. Use as a context manager: who sits there is in the roster.

    Raises:
        InputError: the study needs Python objects that this worker was not given.
    """

    def __init__(
        self,
        store: Store,
        stored: StoredStudy,
        stop: StopRequest,
        extras: Extras | None = None,
        spent: TimeSpent | None = None,
    ) -> None:
        self.store = store
        self.stored = stored
        self.stop = stop
        self.job = load_job(store, stored, extras)
        self.artifacts = artifacts.open_artifacts(store.engine, self.job.spec.artifacts)
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.spent = spent or TimeSpent()
        self._reaped_at = -math.inf

    def __enter__(self) -> Desk:
        self.worker_id = roster.join(self.store.engine, self.stored.study_id, self.host, self.pid)
        self.study = self._load_study()
        return self

    def __exit__(self, *error: object) -> None:
        roster.leave(self.store.engine, self.worker_id)

    def counts(self) -> SlotCounts:
        """Return how far the study's budget is spent."""
        return slots.count(self.store.engine, self.stored.study_id)

    def beat(self) -> None:
        """Say that somebody sits here, between slots."""
        roster.beat(self.store.engine, self.worker_id)

    def claim(self) -> Claim | None:
        """Take the study's next open slot; now and then, and where there is none, open those of the dead first."""
        engine, study_id = self.store.engine, self.stored.study_id
        if time.monotonic() - self._reaped_at < REAP_SECONDS and (claim := self._next()) is not None:
            return claim
        reaper.reap(engine, study_id)
        artifacts.sweep(engine, study_id, slots.LEASE_SECONDS)
        self._reaped_at = time.monotonic()
        return self._next()

    def _next(self) -> Claim | None:
        return slots.claim(self.store.engine, self.stored.study_id, self.worker_id)

    def begin(self, claim: Claim, params: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Start the trial of a claimed slot.

        Args:
            claim: the slot.
            params: stored parameters that somebody else has chosen; by default the slot's own, or the sampler's.

        Raises:
            LeaseLostError: the slot has passed on meanwhile.
        """
        who = {"worker": self.worker_id, "host": self.host, "pid": self.pid}
        return begin_trial(self.study, claim, who, params)

    def fill(self, claim: Claim) -> None:
        """Train the trial of a claimed slot, and tell how it ended."""
        with about(study=self.stored.name, slot=claim.slot, attempt=claim.attempt, worker=self.worker_id, trial=None):
            self._fill(claim)

    def _fill(self, claim: Claim) -> None:
        try:
            with self.spent.on("sampling"):
                trial = self.begin(claim)
            bind_contextvars(trial=trial.number)
            log.info("trial started", **({"goes_on_at": claim.checkpoint_step} if claim.checkpoint else {}))
            note(self.study, trial, {"sampler": sampled_by(self.study, trial, claim), "versions": versions()})
            checkpoints = Checkpoints(self.study, trial, claim, self.artifacts)
            memory.start_measuring()
            with Heartbeat(self.study, trial, claim) as heartbeat:
                trained = counted(self._train(trial, claim, heartbeat, checkpoints), self.study)
                if trained.ending.failure == OUT_OF_MEMORY:
                    free_memory()
                self.stop.wait(trained.ending.pause_seconds)  # the lease holds meanwhile
                self._show(trial, trained)
            self.tell(trial, claim, trained, {"seconds": self.spent.take()})
            log.info("trial ended", **said(trained))
            if not trained.ending.goes_on_from_checkpoint:
                checkpoints.forget()
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            # Whoever took the slot has ended this attempt; nothing of it may be written any more.
            log.warning(str(error))

    def tell(
        self, trial: optuna.Trial, claim: Claim, trained: Trained, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Write down how a trial ended, with more attributes of it, and end its slot or hand it back.

        Raises:
            LeaseLostError: the slot is somebody else's now.
            UpdateFinishedTrialError: somebody has ended the trial.
        """
        ending = trained.ending
        if ending.outcome == "lost":
            raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: {ending.reason}")
        # A diverged trial is told as pruned: samplers learn from it that this was a bad place.
        state = STATES.get(ending.outcome, TrialState.FAIL)
        end_trial(
            self.study,
            trial,
            claim,
            state,
            trained.value if state == TrialState.COMPLETE else None,
            outcome=None if ending.is_followed else ending.outcome,
            user_attrs={**notes(trained), **more},
            step=trained.step,
            failure=ending.failure,
            reason=ending.reason,
            keeps_checkpoint=ending.goes_on_from_checkpoint,
        )
        if ending.failure == BAD_CONFIGURATION:
            slots.stop_study(self.store.engine, self.stored.study_id, ending.reason or "", ALL_BAD)

    def _show(self, trial: optuna.Trial, trained: Trained) -> None:
        """Attach a picture to a trial that is better than all before it."""
        if trained.model is None or trained.value >= best_value(self.study):
            return
        try:
            attach_plot(self.store, trial, self.job, trained.model)
        except Exception:  # a trial is worth more than its picture
            log.warning("a trial's forecast was not drawn", exc_info=True)

    def _load_study(self) -> optuna.Study:
        plan, extras = self.job.plan, self.job.extras
        # Workers must not draw the same points: the number is new for every worker that ever joins.
        seed = self.job.spec.seed * 1_000_003 + self.worker_id
        search_space = plan.space.distributions if plan.space is not None else None
        return optuna.load_study(
            study_name=self.stored.name,
            storage=self.store.trials,
            sampler=extras.sampler or build_sampler(plan.decision("sampler"), seed, search_space),
            pruner=extras.pruner or build_pruner(plan.decision("pruner")),
        )

    def _train(self, trial: optuna.Trial, claim: Claim, heartbeat: Heartbeat, checkpoints: Checkpoints) -> Trained:
        def interruption(step: int) -> Ending | None:
            heartbeat.step = step
            if heartbeat.is_lost:
                return Ending("lost", "the lease has passed on")
            if self.stop.is_set:
                return Ending("stopped", "handed back: the worker was asked to stop")
            if heartbeat.over is not None:
                return Ending("over", f"handed back: {heartbeat.over}")
            return None

        try:
            return train(
                self.job,
                trial,
                is_prunable=claim.slot != 0 or not self.job.plan.spares_default,
                interruption=interruption,
                checkpoints=checkpoints,
                failures=claim.failures,
                spent=self.spent,
            )
        except UpdateFinishedTrialError:
            raise  # somebody else has ended this attempt: not a failure of the training
        except optuna.TrialPruned as error:
            return Trained(Ending("pruned", str(error)), math.inf, 0, 0.0)
        except Exception as error:
            return Trained(ended_by(error, claim.failures), math.inf, 0, 0.0)


def counted(trained: Trained, study: optuna.Study) -> Trained:
    """Return a training as complete that the pruner or the end of a budget stopped after the study's best check.

    A trial is worth its best check, and no better model is to be lost for having been seen early.
    """
    ending = trained.ending
    if ending.outcome not in ("pruned", "over") or not trained.value < best_value(study):
        return trained
    reason = (ending.reason or "").removeprefix("handed back: ")
    reason = f"{reason}; it counts, for its check at step {trained.best_step} is the study's best"
    return replace(trained, ending=Ending("complete", reason))


def load_job(store: Store, stored: StoredStudy, extras: Extras | None = None) -> Job:
    """Rebuild the study's job from the storage.

    Raises:
        InputError: the study needs Python objects that this worker was not given.
    """
    extras = extras or Extras()
    missing = sorted(set(stored.plan.get("needs", ())) - set(extras.names))
    if missing:
        raise InputError(
            "study",
            f"{stored.name!r}, made in Python with a {' and a '.join(missing)} of its own",
            "run the same Python again to go on with it.",
        )
    spec: StudySpec = make_spec(stored.spec)
    series = Series.from_parquet(datasets.get(store.engine, stored.dataset))
    return Job.make(spec, Plan.from_json(stored.plan), series, extras)
