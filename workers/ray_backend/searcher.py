"""A Ray searcher whose trials belong to the stored study: it claims their slots and records their reports.

Ray's OptunaSearch keeps a study in memory, which a restored run does not have (ray-project/ray#30861). This searcher
has no state: the sampler that the policy chose suggests parameters from the stored study. A resumed run therefore uses
all earlier trials, on any machine.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from ray.tune.search import Searcher

from castpool import attributes
from castpool.storage.attempts.lifecycle import note
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.ending import Ending
from castpool.workers.training.failures import UNKNOWN
from castpool.workers.training.objective import TrainingResult, ending_after_failure, record_config, reduced_for_memory
from castpool.workers.worker.heartbeat import Heartbeat
from castpool.workers.worker.trial_attributes import find_sampler
from castpool.workers.worker.trial_runner import TrialRunner, complete_if_best

log = logging.getLogger("castpool.ray")

METRIC = "loss"


@dataclass
class RunningTrial:
    """A running Ray trial: its slot, and its validation losses by training step."""

    claim: Claim
    trial: Trial
    config: dict[str, Any]
    changed: dict[str, int]
    heartbeat: Heartbeat
    started: float
    curve: dict[int, float] = field(default_factory=dict)


class StudySearch(Searcher):
    """Suggests trials to Ray and records their results.

    Args:
        runner: the trial runner of the study; all of Ray's trials are trials of this one worker.
        stop: the request to end early, which releases the slots of running trials.
        at_once: the number of trials that run at the same time.
        inner: a searcher that suggests parameters in place of the sampler, except for parameters that the study fixes.
        state_path: the file for the inner searcher's state, which survives this process.
    """

    def __init__(
        self,
        runner: TrialRunner,
        stop: StopRequest,
        at_once: int,
        inner: Searcher | None = None,
        state_path: Path | None = None,
    ) -> None:
        super().__init__(metric=METRIC, mode="min")
        self.runner = runner
        self.stop = stop
        self.at_once = at_once
        self.inner = inner
        self.state_path = state_path
        self.running: dict[str, RunningTrial] = {}
        self.reported_at = time.monotonic()
        if inner is not None and state_path is not None and state_path.exists():
            inner.restore(str(state_path))

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Ray pickles a searcher to restore it, and this searcher's state is the stored study."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Write a placeholder: the state is the stored study."""
        Path(checkpoint_path).write_text("in the study")

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the state is the stored study."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept Ray's search space, which is the space of the study."""
        return True

    @property
    def must_stop(self) -> bool:
        """Whether all trials must end early: a stop is requested, or a budget of the study is spent."""
        return self.stop.is_set or any(trial.heartbeat.over is not None for trial in list(self.running.values()))

    def is_prunable(self, trial_id: str) -> bool:
        """Return whether the scheduler may stop a running Ray trial (`TrialRunner.is_prunable`)."""
        return trial_id not in self.running or self.runner.is_prunable(self.running[trial_id].claim)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Claim a slot and return its configuration; None if enough trials are running or no slot is open."""
        if self.stop.is_set or len(self.running) >= self.at_once:
            return None
        claim = self.runner.claim()
        if claim is None:
            is_over = self.runner.counts().open == 0
            return Searcher.FINISHED if is_over else None  # type: ignore[return-value]  # as Ray's own searchers do
        space = self.runner.job.plan.space
        assert space is not None
        params = None
        if self.inner is not None and not claim.params and claim.retry_of is None:
            suggested = self.inner.suggest(trial_id)
            if isinstance(suggested, dict):
                params = space.encode(suggested)
        try:
            trial = self.runner.begin(claim, params)
            config = space.suggest(trial)
            changed = reduced_for_memory(self.runner.job, config, claim.failures)
            config |= changed
            sampler = type(self.inner).__name__ if params is not None else find_sampler(self.runner.study, trial, claim)
            note(self.runner.study, trial, {attributes.SAMPLER: sampler})
            record_config(trial, config)
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            log.warning("%s", error)
            return None
        heartbeat = self.runner.heartbeat(trial, claim)
        heartbeat.__enter__()
        self.running[trial_id] = RunningTrial(claim, trial, config, changed, heartbeat, time.monotonic())
        self.reported_at = time.monotonic()
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report a validation check to the study."""
        self.reported_at = time.monotonic()
        running = self.running.get(trial_id)
        value = result.get(METRIC)
        if running is None or running.heartbeat.is_lost or value is None or "reason" in result:
            return
        step = int(result["training_iteration"]) * self.runner.job.plan.val_check_steps
        if step not in running.curve and math.isfinite(value):
            running.curve[step] = float(value)
            running.heartbeat.step = step
            running.trial.report(float(value), step)
            if self.inner is not None:
                self.inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record how a trial ended, and end its slot."""
        result = result or {}
        running = self.running.get(trial_id)
        if running is None:
            return
        try:
            self.on_trial_result(trial_id, result)  # Ray passes the last check to this method only
            del self.running[trial_id]
            running.heartbeat.__exit__(None, None, None)
            trained = complete_if_best(self._trained(running, result, error), self.runner.study)
            self.runner.finish(running.trial, running.claim, trained)
        except (LeaseLostError, UpdateFinishedTrialError) as lost:
            self.running.pop(trial_id, None)
            log.warning("%s", lost)
        if self.inner is not None:
            self.inner.on_trial_complete(trial_id, result or None, error or "reason" in result)
            if self.state_path is not None:
                self.state_path.parent.mkdir(parents=True, exist_ok=True)
                self.inner.save(str(self.state_path))

    def release_all(self) -> None:
        """End the trials that still run when a Ray run ends, and release their slots."""
        for trial_id in list(self.running):
            self.on_trial_complete(trial_id)

    def _trained(self, running: RunningTrial, result: dict[str, Any], error: bool) -> TrainingResult:
        best_step = min(running.curve, key=lambda step: running.curve[step], default=0)
        value = running.curve.get(best_step, math.inf)
        seconds = float(result.get("time_total_s") or time.monotonic() - running.started)
        ending, last = self._ending(running, result, error), max(running.curve, default=0)
        return TrainingResult(ending, value, best_step, seconds, last, running.changed)

    def _ending(self, running: RunningTrial, result: dict[str, Any], error: bool) -> Ending:
        plan = self.runner.job.plan
        last = max(running.curve, default=0)
        max_steps = int(running.config.get("max_steps", plan.max_steps))
        if running.heartbeat.is_lost:
            return Ending(Outcome.LOST, "lease lost to another worker")
        if (reason := result.get("reason")) is not None:
            return ending_after_failure(result.get("failure", UNKNOWN), reason, running.claim.failures)
        value = result.get(METRIC)
        if value is not None and not math.isfinite(value):
            return Ending(Outcome.DIVERGED, f"validation loss was {value} after step {last}")
        if last + plan.val_check_steps > max_steps:
            return Ending(Outcome.COMPLETE)
        if self.stop.is_set:
            return Ending(Outcome.STOPPED, "released: worker is shutting down")
        if running.heartbeat.over is not None:
            return Ending(Outcome.OVER, f"released: {running.heartbeat.over}")
        if error or not running.curve:
            return ending_after_failure(UNKNOWN, "Ray's process of the trial died", running.claim.failures)
        return Ending(Outcome.PRUNED, f"Ray's scheduler stopped it after step {last}")
