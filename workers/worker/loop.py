"""A worker: it claims a slot and runs its trial, until every study is done or a stop is requested.

Where to look next: `TrialRunner` (`castpool.workers.worker.trial_runner`) runs one trial and decides which trials may
be pruned; `PruningCallback` (`castpool.workers.training.pruning_callback`) reports validation losses and asks the
pruner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.phase_timer import PhaseTimer
from castpool.workers.worker.evaluation_runner import EvaluationRunner
from castpool.workers.worker.trial_runner import TrialRunner

IDLE_SECONDS = 1.0


class Worker:
    """One worker of a pool, with a trial runner for each study. Workers share nothing but the storage.

    Args:
        store: where the studies are.
        studies: the studies to work on. The worker claims first where the largest share of the budget is left.
        stop: the request to end early.
        objects: Python objects by the name of the study that needs them.

    Raises:
        InputError: a study needs Python objects that are not among ``objects``.
    """

    def __init__(
        self,
        store: Store,
        studies: Sequence[StoredStudy],
        stop: StopRequest,
        objects: Mapping[str, PythonObjects] | None = None,
    ) -> None:
        self.stop = stop
        self.spent = PhaseTimer()
        self.runners = [
            TrialRunner(store, study, stop, (objects or {}).get(study.name), self.spent) for study in studies
        ]
        limits = [runner.job.spec.recycle_after for runner in self.runners]
        self._most_trials = min((limit for limit in limits if limit is not None), default=None)
        self._n_trials = 0

    def run(self) -> bool:
        """Register, then claim slots and run their trials until there is no more work; unregister.

        Returns:
            Whether a fresh process is to replace this one: it has run ``recycle_after`` trials, and slots are left.
        """
        with ExitStack() as registered:
            for runner in self.runners:
                registered.enter_context(runner)
            while not self.stop.is_set and (unfinished := sort_by_open_share(self.runners)):
                if not self._run_next(unfinished):
                    self._wait(unfinished)
                if self._is_worn_out:
                    return not all(runner.counts().is_done for runner in self.runners)
        return False

    def _run_next(self, runners: Sequence[TrialRunner]) -> bool:
        """Run the next trial, or else the next evaluation, or plan the next phase; return whether there was one."""
        for runner in runners:
            if (claim := runner.claim()) is not None:
                runner.run(claim)
                self._n_trials += 1
                return True
        for runner in runners:
            evaluations = EvaluationRunner(runner, len(runners))
            if (claim := evaluations.claim()) is not None:
                evaluations.run(claim)
                return True
        return any(EvaluationRunner(runner, len(runners)).advance(runner.counts()) for runner in runners)

    def _wait(self, runners: Sequence[TrialRunner]) -> None:
        """Wait a moment: other workers hold every open slot, and may release one."""
        with self.spent.on("idle"):
            for runner in runners:
                runner.beat()
            self.stop.wait(IDLE_SECONDS)

    @property
    def _is_worn_out(self) -> bool:
        """Whether this process has run as many trials as the studies allow for one."""
        return self._n_trials == self._most_trials


def sort_by_open_share(runners: Sequence[TrialRunner]) -> list[TrialRunner]:
    """Return the runners of unfinished studies, first where the largest share of the slots is open."""
    counts = {runner: runner.counts() for runner in runners}
    unfinished = [runner for runner in runners if not counts[runner].is_done]
    return sorted(unfinished, key=lambda runner: counts[runner].open / counts[runner].slots, reverse=True)
