"""What a worker does for a study after its search: it plans the phases, and runs evaluations that it claims."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from castpool import attributes
from castpool.sampler_policies.rules.choose_verification import SHARE
from castpool.storage.budget import evaluations, slots, worker_registry
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.slots import Allowance, Claim, SlotCounts
from castpool.storage.errors import LeaseLostError
from castpool.workers.evaluation import phases
from castpool.workers.evaluation.backtest_windows import windows_of
from castpool.workers.evaluation.baselines import evaluate_baseline, find_baseline
from castpool.workers.evaluation.forecasts import forecast_windows, read_forecasts, to_parquet
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.evaluation.windows import Windows, holdout_windows, verification_windows
from castpool.workers.support.logs import about, get_logger
from castpool.workers.training.ending import Ending
from castpool.workers.training.failures import OUT_OF_MEMORY
from castpool.workers.training.fit import configuration_of
from castpool.workers.training.objective import ending_after_error, free_memory, reduced_for_memory
from castpool.workers.training.phase_timer import PhaseTimerCallback
from castpool.workers.worker.heartbeat import Heartbeat
from castpool.workers.worker.trial_runner import TrialRunner

log = get_logger("worker")


class EvaluationRunner:
    """Runs the evaluations of one study in one worker process, which also runs its trials.

    Args:
        trials: the runner of the study's trials, which is in the worker registry.
        n_studies: the number of studies that the pool works on.
    """

    def __init__(self, trials: TrialRunner, n_studies: int = 1) -> None:
        self.trials = trials
        self._n_studies = n_studies
        self.job = trials.job
        self._engine = trials.store.engine
        self._study_id = trials.stored.study_id

    def advance(self, counts: SlotCounts) -> bool:
        """Enter the next phase of the study where the present one has ended; return whether this call did.

        Args:
            counts: the present counts of the study.
        """
        phase = counts.phase
        if phase in (None, Phase.DONE) or counts.leased or counts.evaluating:
            return False
        if phase == Phase.SEARCH:
            return counts.is_searched and self._end_search(counts)
        if counts.open_evaluations:
            return False
        if phase == Phase.VERIFICATION:
            return self._end_verification()
        return self._enter(phase, Phase.DONE, [], None)

    def _end_search(self, counts: SlotCounts) -> bool:
        if counts.stopped:
            return self._enter(Phase.SEARCH, Phase.DONE, [], {})
        ended = self.trials.study.get_trials(deepcopy=False)
        tasks, record = phases.plan_verification(self.job, ended, *self._capacity(counts, ended))
        return self._enter(Phase.SEARCH, Phase.VERIFICATION, tasks, record)

    def _end_verification(self) -> bool:
        record = self._record()
        if not record.get("finalists"):
            return self._enter(Phase.VERIFICATION, Phase.DONE, [], record)
        done = evaluations.read_evaluations(self._engine, self._study_id)
        selection = phases.select_members(self.job, record, done, partial(read_forecasts, self.trials.artifacts))
        tasks = phases.plan_holdout(self.job, record, selection)
        return self._enter(Phase.VERIFICATION, Phase.HOLDOUT, tasks, {**record, "selection": selection.to_json()})

    def _enter(
        self, before: Phase, phase: Phase, tasks: list[EvaluationTask], record: Mapping[str, Any] | None
    ) -> bool:
        content = [task.to_json() for task in tasks]
        is_first = evaluations.enter_phase(self._engine, self._study_id, before, phase, content, record)
        if is_first:
            log.info("phase entered", study=self.trials.stored.name, phase=phase.value, evaluations=len(tasks))
        return is_first

    def _record(self) -> Mapping[str, Any]:
        return evaluations.read_record(self._engine, self._study_id)[1]

    def _capacity(self, counts: SlotCounts, ended: list[Any]) -> tuple[float, float | None]:
        """Return the worker seconds that the evaluation may take, and the number of workers that share them.

        That is what budgets leave. Without one it is a share of the search's time, and no number: nothing ends it then.
        """
        seconds = [float(trial.user_attrs.get(attributes.TRAINING_SECONDS, 0.0)) for trial in ended]
        steps = sum(trial.last_step or 0 for trial in ended)
        # Time passes for a study while one worker works on it: several studies share the workers.
        n_workers = max(1.0, len(worker_registry.present(self._engine, self._study_id)) / self._n_studies)
        capacities = []
        for budget in counts.budgets:
            if budget.limit is None:
                continue
            if (left := budget.seconds_left(is_evaluation=True)) is not None:
                capacities.append((left * n_workers, n_workers))
            elif budget.kind.per_step and steps:
                # Steps of several workers count together, so one training may take all.
                left = (budget.limit - budget.spent) / budget.kind.per_step * sum(seconds) / steps
                capacities.append((left, 1.0))
        return min(capacities) if capacities else (sum(seconds) * SHARE / (1 - SHARE), None)

    # --- one evaluation

    def claim(self) -> Claim | None:
        """Claim the study's next open evaluation; None where none is open."""
        return slots.claim_evaluation(self._engine, self._study_id, self.trials.worker_id)

    def run(self, claim: Claim) -> None:
        """Run a claimed evaluation, and record how it ended. A lost lease is logged, not raised."""
        assert claim.task is not None
        task = EvaluationTask.from_json(claim.task)
        with about(study=self.trials.stored.name, slot=claim.slot, attempt=claim.attempt, candidate=task.candidate):
            try:
                self._run(claim, task)
            except LeaseLostError as error:
                log.warning(str(error))

    def _run(self, claim: Claim, task: EvaluationTask) -> None:
        started = time.monotonic()
        log.info("evaluation started", phase=task.phase.value, origin=task.origin)

        def beat(step: int) -> Allowance:
            return slots.beat(self._engine, claim, step)

        with Heartbeat(beat) as heartbeat:
            try:
                ending, result = self._forecast(claim, task, heartbeat)
            except Exception as error:
                ending, result = ending_after_error(error, claim.failures), None
            if ending.failure == OUT_OF_MEMORY:
                free_memory()
            self.trials.stop.wait(ending.pause_seconds)
        if ending.outcome == Outcome.LOST:
            raise LeaseLostError(f"slot {claim.slot}, attempt {claim.attempt}: {ending.reason}")
        evaluations.end_evaluation(
            self._engine,
            claim,
            None if ending.is_followed else Outcome.COMPLETE if result is not None else Outcome.FAILED,
            result=result,
            step=heartbeat.step,
            failure=ending.failure,
            reason=ending.reason,
            seconds=self.trials.spent.take(),
        )
        log.info("evaluation ended", outcome=ending.outcome.value, seconds=round(time.monotonic() - started, 3))

    def _forecast(self, claim: Claim, task: EvaluationTask, heartbeat: Heartbeat) -> tuple[Ending, str | None]:
        """Return how the evaluation ended, and the artifact with its forecasts."""
        windows = self._windows(task)
        interruption = self.trials.interruption(heartbeat)
        if task.baseline is not None:
            frame = self._baseline(task, windows)
        else:
            trial = self.trials.study.get_trials(deepcopy=False)[task.trial or 0]
            config = configuration_of(self.job, trial)
            config |= attributes.read_reduced_for_memory(trial.user_attrs)
            config |= reduced_for_memory(self.job, config, claim.failures)
            spent = self.trials.spent
            with spent.on("evaluation"):
                frame = forecast_windows(
                    self.job,
                    config,
                    task.step,
                    task.seed(self.job.spec.seed),
                    windows,
                    lambda step: interruption(step) is not None,
                    [PhaseTimerCallback(spent)],
                    self._levels(task),
                )
        if (interrupted := interruption(heartbeat.step)) is not None:
            return interrupted, None
        values = frame.drop(columns=["unique_id", "ds", "cutoff"]).to_numpy(dtype=float)
        if not np.isfinite(values).all():
            return Ending(Outcome.FAILED, "its forecasts are not finite"), None
        name = f"evaluation-{claim.study_id}-{claim.slot}-{claim.attempt}"
        self.trials.artifacts.write(name, io.BytesIO(to_parquet(frame)))
        return Ending(Outcome.COMPLETE), name

    def _windows(self, task: EvaluationTask) -> Windows:
        if task.phase == Phase.VERIFICATION:
            return verification_windows(self.job)[task.origin]
        if task.phase == Phase.BACKTEST:
            return windows_of(task, self.job.spec.horizon)
        windows = holdout_windows(self.job)
        assert windows is not None
        return windows

    def _baseline(self, task: EvaluationTask, windows: Windows) -> pd.DataFrame:
        assert task.baseline is not None
        frame = self.job.series.without_newest(windows.remaining).frame
        with self.trials.spent.on("evaluation"):
            return evaluate_baseline(
                find_baseline(task.baseline, phases.season_of(self.job)),
                frame,
                self.job.series.freq,
                horizon=self.job.spec.horizon,
                behind=windows.size,
                n_windows=windows.count(self.job.spec.horizon),
                distance=windows.distance,
                levels=self._levels(task),
            )

    def _levels(self, task: EvaluationTask) -> tuple[int, ...]:
        """Return the levels of intervals of a task: members are selected by their point forecasts."""
        return self.job.spec.level if task.phase == Phase.HOLDOUT else ()
