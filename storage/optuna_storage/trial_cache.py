"""The trial cache of a study: ended trials, which never change, and the others as they were when last read."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterable, Mapping
from operator import attrgetter
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from castpool.private_api.optuna import trial_id_of
from castpool.storage.optuna_storage.row_mapping import decode_trial

FINISHED = tuple(state for state in TrialState if state.is_finished())
_number = attrgetter("number")


class TrialCache:
    """A study's trials. Each is read completely once, after it has ended.

    Attributes:
        finished: the ended trials in the order in which they were read. It only grows, so a reader that remembers
            its length finds the new trials after that index.
        last_seen: every trial up to this id is in ``finished``, or its id is in ``unfinished``.
        distributions: one distribution of each parameter of these trials.
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
        """The ids of the trials that had not ended when last read."""
        return list(self._unfinished)

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials that had not ended when last read, with at least their numbers and system attributes."""
        return list(self._unfinished.values())

    def absorb(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the rows of `sql.trials.NEWS`: unfinished and new trials, of which ended ones are complete."""
        self._unfinished = {}
        for row in rows:
            trial = decode_trial(row)
            self.last_seen = max(self.last_seen, trial_id_of(trial))
            self.learn(trial.distributions)
            if trial.state.is_finished():
                self._add(trial)
            else:
                self._unfinished[trial_id_of(trial)] = trial

    def learn(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Add the distributions of a trial."""
        for name, distribution in distributions.items():
            self.distributions.setdefault(name, distribution)

    def finished_trial(self, trial_id: int) -> FrozenTrial | None:
        """Return the ended trial of that id, or None if it is not known to have ended."""
        return self._by_id.get(trial_id)

    def trials(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Return the trials in these states, or all, in the order of their numbers."""
        wanted = FINISHED if states is None else tuple(state for state in FINISHED if state in states)
        if wanted not in self._by_states:
            self._by_states[wanted] = sorted((trial for trial in self.finished if trial.state in wanted), key=_number)
        trials = self._by_states[wanted].copy()
        others = [trial for trial in self._unfinished.values() if states is None or trial.state in states]
        if others:
            trials += others
            trials.sort(key=_number)
        return trials

    def _add(self, trial: FrozenTrial) -> None:
        if trial_id_of(trial) in self._by_id:
            return
        self._by_id[trial_id_of(trial)] = trial
        self.finished.append(trial)
        for states, trials in self._by_states.items():
            if trial.state in states:
                insort(trials, trial, key=_number)
