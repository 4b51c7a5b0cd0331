"""What a process knows of a study's trials: the ended ones for good, the others as they were at the last look."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterable, Mapping
from operator import attrgetter
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from storage.frozen import frozen_trial

FINISHED = tuple(own for own in TrialState if own.is_finished())
_number = attrgetter("number")


class History:
    """A study's trials, each read whole once, after it has ended.

    Attributes:
        finished: the ended trials in the order in which they were learned of. It only grows, so a reader that
            remembers how far it came finds what is new behind that place.
        last_seen: every trial up to this id is in here, or its id is among ``unfinished``.
        distributions: one distribution of each parameter that any of these trials has.
    """

    def __init__(self) -> None:
        self.finished: list[FrozenTrial] = []
        self.last_seen = -1
        self.distributions: dict[str, BaseDistribution] = {}
        self._by_id: dict[int, FrozenTrial] = {}
        self._by_states: dict[tuple[TrialState, ...], list[FrozenTrial]] = {}
        self._unfinished: dict[int, FrozenTrial] = {}

    @property
    def unfinished(self) -> list[int]:
        """The ids of the trials that had not ended at the last look."""
        return list(self._unfinished)

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials that had not ended, with their numbers and system attributes at least."""
        return list(self._unfinished.values())

    def absorb(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the rows of `storage.sql.trials.NEWS`: unfinished trials and new ones, the ended of them whole."""
        self._unfinished = {}
        for row in rows:
            trial = frozen_trial(row)
            self.last_seen = max(self.last_seen, trial._trial_id)
            self.learn(trial.distributions)
            if trial.state.is_finished():
                self._add(trial)
            else:
                self._unfinished[trial._trial_id] = trial

    def learn(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Remember the distributions of a trial."""
        for name, distribution in distributions.items():
            self.distributions.setdefault(name, distribution)

    def finished_trial(self, trial_id: int) -> FrozenTrial | None:
        """Return a trial that is known to have ended."""
        return self._by_id.get(trial_id)

    def trials(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers."""
        wanted = FINISHED if states is None else tuple(own for own in FINISHED if own in states)
        if wanted not in self._by_states:
            self._by_states[wanted] = sorted((own for own in self.finished if own.state in wanted), key=_number)
        trials = self._by_states[wanted].copy()
        others = [own for own in self._unfinished.values() if states is None or own.state in states]
        if others:
            trials += others
            trials.sort(key=_number)
        return trials

    def _add(self, trial: FrozenTrial) -> None:
        if trial._trial_id in self._by_id:
            return
        self._by_id[trial._trial_id] = trial
        self.finished.append(trial)
        for states, trials in self._by_states.items():
            if trial.state in states:
                insort(trials, trial, key=_number)
