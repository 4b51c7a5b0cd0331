"""A worker: claim a slot, train its trial, tell how it ended; until no slot is left or somebody says stop."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sampler_policies.errors import InputError
from sampler_policies.plan import Plan
from sampler_policies.pruners import build_pruner
from sampler_policies.sampler_builder import build_sampler, sampler_name
from storage import datasets, reaper, roster, slots
from storage.errors import LeaseLostError
from storage.slots import Claim
from storage.store import Store
from storage.studies import StoredStudy
from storage.trials import begin_trial
from workers.extras import Extras
from workers.heartbeat import Heartbeat
from workers.objective import Job, Trained, train
from workers.series import Series
from workers.signals import StopRequest
from workers.spec import StudySpec, make_spec
from workers.validation_hook import Ending

log = logging.getLogger("castpool.worker")

IDLE_SECONDS = 1.0


class Worker:
    """One of a pool of equals. All that they share is in the storage."""

    def __init__(self, store: Store, stored: StoredStudy, stop: StopRequest, extras: Extras | None = None) -> None:
        self.store = store
        self.stored = stored
        self.stop = stop
        self.job = load_job(store, stored, extras)
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.worker_id = 0

    def run(self) -> None:
        """Work until every slot has ended or a stop is asked for."""
        self.worker_id = roster.join(self.store.engine, self.stored.study_id, self.host, self.pid)
        try:
            study = self._load_study()
            while not self.stop.is_set:
                reaper.reap(self.store.engine, self.stored.study_id)
                claim = slots.claim(self.store.engine, self.stored.study_id, self.worker_id)
                if claim is not None:
                    self._fill(study, claim)
                elif slots.count(self.store.engine, self.stored.study_id).is_done:
                    break
                else:
                    roster.beat(self.store.engine, self.worker_id)
                    self.stop.wait(IDLE_SECONDS)
        finally:
            roster.leave(self.store.engine, self.worker_id)

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

    def _fill(self, study: optuna.Study, claim: Claim) -> None:
        who = {"worker": self.worker_id, "host": self.host, "pid": self.pid}
        trial = begin_trial(study, claim, who)
        try:
            slots.attach(self.store.engine, claim, trial._trial_id)
            trial.set_user_attr("sampler", _sampled_by(study, trial, claim))
            with Heartbeat(self.store, claim, trial._trial_id) as heartbeat:
                trained = self._train(trial, claim, heartbeat)
            self._tell(study, trial, claim, trained)
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            # Whoever took the slot has ended this attempt; nothing of it may be written any more.
            log.warning("%s", error)

    def _train(self, trial: optuna.Trial, claim: Claim, heartbeat: Heartbeat) -> Trained:
        def interruption() -> Ending | None:
            if heartbeat.is_lost:
                return Ending("lost", "the lease has passed on")
            if self.stop.is_set:
                return Ending("stopped", "handed back: the worker was asked to stop")
            return None

        try:
            # The defaults are the yardstick of the study, so nobody stops them early.
            return train(self.job, trial, is_prunable=claim.slot != 0, interruption=interruption)
        except UpdateFinishedTrialError:
            raise  # somebody else has ended this attempt: not a failure of the training
        except optuna.TrialPruned as error:
            return Trained(Ending("pruned", str(error)), math.inf, 0, {}, 0.0)
        except Exception as error:
            log.warning("trial %d failed", trial.number, exc_info=True)
            reason = f"{type(error).__name__}: {str(error).strip()[:500]}"
            return Trained(Ending("failed", reason), math.inf, 0, {}, 0.0)

    def _tell(self, study: optuna.Study, trial: optuna.Trial, claim: Claim, trained: Trained) -> None:
        ending, engine = trained.ending, self.store.engine
        if ending.outcome == "lost":
            raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: {ending.reason}")
        # The fence: from here on the lease outlasts what follows, unless the server is away for longer than a lease.
        # Then the reaper has ended the trial, telling changes nothing, and ending the slot says that it is lost.
        slots.beat(engine, claim)
        self._note(trial, trained)
        if ending.outcome == "complete":
            study.tell(trial, trained.value, skip_if_finished=True)
        elif ending.outcome in ("pruned", "diverged"):
            # A diverged trial is told as pruned: samplers learn from it that this was a bad place.
            study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        if ending.outcome == "stopped":
            slots.hand_back(engine, claim)
        else:
            slots.finish(engine, claim, ending.outcome)

    @staticmethod
    def _note(trial: optuna.Trial, trained: Trained) -> None:
        trial.set_user_attr("training_seconds", round(trained.seconds, 3))
        if trained.ending.reason:
            trial.set_user_attr("reason", trained.ending.reason)
        if trained.config:
            trial.set_user_attr("config", _json_values(trained.config))
        if trained.best_step:
            trial.set_user_attr("best_step", trained.best_step)


def _sampled_by(study: optuna.Study, trial: optuna.Trial, claim: Claim) -> str:
    """Return who chose the trial's parameters."""
    if claim.retry_of is not None:
        before = study._storage.get_trial(claim.retry_of)
        return str(before.user_attrs.get("sampler", "unknown"))
    if claim.params:
        return "the model's defaults"
    if "fixed_params" in trial._cached_frozen_trial.system_attrs:
        return "enqueued"
    return sampler_name(study, trial._cached_frozen_trial)


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


def _json_values(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(config), default=repr))  # type: ignore[no-any-return]
