"""A Ray searcher whose trials are the study's: slots are claimed for them, and what they report is told to it.

Ray's own OptunaSearch keeps a study in memory, which a restored run does not have (ray-project/ray#30861). This one
keeps nothing: parameters are asked of the stored study, by the sampler that the policy chose, so a run that is taken
up again knows all that was learnt, on whichever machine.
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

from storage.errors import LeaseLostError
from storage.slots import Claim
from storage.trials import note
from workers.desk import Desk, counted
from workers.failures import UNKNOWN
from workers.heartbeat import Heartbeat
from workers.objective import Trained, ended_as, for_want_of_memory, record_config
from workers.signals import StopRequest
from workers.trial_notes import sampled_by
from workers.validation_hook import Ending

log = logging.getLogger("castpool.ray")

METRIC = "loss"


@dataclass
class Running:
    """A Ray trial under way: the slot that it fills, and its validation losses by training step."""

    claim: Claim
    trial: Trial
    config: dict[str, Any]
    changed: dict[str, int]
    heartbeat: Heartbeat
    started: float
    curve: dict[int, float] = field(default_factory=dict)


class StudySearch(Searcher):
    """Suggests trials to Ray and writes down what becomes of them.

    Args:
        desk: at the study; the one worker that all of Ray's trials are.
        stop: the request to end early, at which trials are handed back.
        at_once: how many trials run at the same time.
        inner: a searcher that suggests in the sampler's place, except for what the study itself has fixed.
        kept: the file in which the inner searcher's state outlives this process.
    """

    def __init__(
        self, desk: Desk, stop: StopRequest, at_once: int, inner: Searcher | None = None, kept: Path | None = None
    ) -> None:
        super().__init__(metric=METRIC, mode="min")
        self.desk = desk
        self.stop = stop
        self.at_once = at_once
        self.inner = inner
        self.kept = kept
        self.running: dict[str, Running] = {}
        self.heard_at = time.monotonic()
        if inner is not None and kept is not None and kept.exists():
            inner.restore(str(kept))

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles a searcher to restore it, and this one's state is the study's."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Write nothing down: the study is."""
        Path(checkpoint_path).write_text("in the study")

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study is there."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept Ray's search space, which is the study's own."""
        return True

    @property
    def must_stop(self) -> bool:
        """Whether all trials are to end early: somebody asked for it, or another budget of the study is spent."""
        return self.stop.is_set or any(own.heartbeat.over is not None for own in list(self.running.values()))

    def is_default(self, trial_id: str) -> bool:
        """Whether a Ray trial trains the model's defaults, which nobody stops early."""
        return trial_id in self.running and self.running[trial_id].claim.slot == 0

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Claim a slot and return its configuration; None where all workers are busy or no slot is open."""
        if self.stop.is_set or len(self.running) >= self.at_once:
            return None
        claim = self.desk.claim()
        if claim is None:
            is_over = self.desk.counts().open == 0
            return Searcher.FINISHED if is_over else None  # type: ignore[return-value]  # as Ray's own searchers do
        space = self.desk.job.plan.space
        assert space is not None
        params = None
        if self.inner is not None and not claim.params and claim.retry_of is None:
            suggested = self.inner.suggest(trial_id)
            if isinstance(suggested, dict):
                params = space.encode(suggested)
        try:
            trial = self.desk.begin(claim, params)
            config = space.suggest(trial)
            changed = for_want_of_memory(self.desk.job, config, claim.failures)
            config |= changed
            by = type(self.inner).__name__ if params is not None else sampled_by(self.desk.study, trial, claim)
            note(self.desk.study, trial, {"sampler": by})
            record_config(trial, config)
        except (LeaseLostError, UpdateFinishedTrialError) as error:
            log.warning("%s", error)
            return None
        heartbeat = Heartbeat(self.desk.study, trial, claim)
        heartbeat.__enter__()
        self.running[trial_id] = Running(claim, trial, config, changed, heartbeat, time.monotonic())
        self.heard_at = time.monotonic()
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report a validation check to the study."""
        self.heard_at = time.monotonic()
        running = self.running.get(trial_id)
        value = result.get(METRIC)
        if running is None or running.heartbeat.is_lost or value is None or "reason" in result:
            return
        step = int(result["training_iteration"]) * self.desk.job.plan.val_check_steps
        if step not in running.curve and math.isfinite(value):
            running.curve[step] = float(value)
            running.heartbeat.step = step
            running.trial.report(float(value), step)
            if self.inner is not None:
                self.inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study how a trial ended, and end its slot."""
        result = result or {}
        running = self.running.get(trial_id)
        if running is None:
            return
        try:
            self.on_trial_result(trial_id, result)  # Ray tells only this method of the last check
            del self.running[trial_id]
            running.heartbeat.__exit__(None, None, None)
            trained = counted(self._trained(running, result, error), self.desk.study)
            self.desk.tell(running.trial, running.claim, trained)
        except (LeaseLostError, UpdateFinishedTrialError) as lost:
            self.running.pop(trial_id, None)
            log.warning("%s", lost)
        if self.inner is not None:
            self.inner.on_trial_complete(trial_id, result or None, error or "reason" in result)
            if self.kept is not None:
                self.kept.parent.mkdir(parents=True, exist_ok=True)
                self.inner.save(str(self.kept))

    def hand_back(self) -> None:
        """Open the slots of what still runs, when a run is broken off."""
        for trial_id in list(self.running):
            self.on_trial_complete(trial_id)

    def _trained(self, running: Running, result: dict[str, Any], error: bool) -> Trained:
        best_step = min(running.curve, key=lambda step: running.curve[step], default=0)
        value = running.curve.get(best_step, math.inf)
        seconds = float(result.get("time_total_s") or time.monotonic() - running.started)
        ending, last = self._ending(running, result, error), max(running.curve, default=0)
        return Trained(ending, value, best_step, seconds, last, running.changed)

    def _ending(self, running: Running, result: dict[str, Any], error: bool) -> Ending:
        plan = self.desk.job.plan
        last = max(running.curve, default=0)
        max_steps = int(running.config.get("max_steps", plan.max_steps))
        if running.heartbeat.is_lost:
            return Ending("lost", "the lease has passed on")
        if (reason := result.get("reason")) is not None:
            return ended_as(result.get("failure", UNKNOWN), reason, running.claim.failures)
        value = result.get(METRIC)
        if value is not None and not math.isfinite(value):
            return Ending("diverged", f"validation loss was {value} after step {last}")
        if last + plan.val_check_steps > max_steps:
            return Ending("complete")
        if self.stop.is_set:
            return Ending("stopped", "handed back: the worker was asked to stop")
        if running.heartbeat.over is not None:
            return Ending("over", f"handed back: {running.heartbeat.over}")
        if error or not running.curve:
            return ended_as(UNKNOWN, "Ray's process for the trial died", running.claim.failures)
        return Ending("pruned", f"Ray's scheduler stopped it after step {last}")
