"""Successive halving in which a promotion has to stand."""

from __future__ import annotations

import math
from collections import defaultdict

import optuna
from optuna.pruners._successive_halving import _completed_rung_key, _get_current_rung
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sampler_policies.bounded_pruners import BoundedSuccessiveHalvingPruner, Rungs, history_of

# One alone may have been lucky, once.
FEWEST_OTHERS = 2
FEWEST_RUNGS = 2


class StandingHalvingPruner(BoundedSuccessiveHalvingPruner):
    """Successive halving that also stops whoever was promoted for want of competitors.

    Asynchronous successive halving (Li et al., arXiv:1810.05934) lets the first trials go on, as nobody has come to
    their rungs yet, and never asks again: where trials are slow they take most of the time there is. Here every check
    looks at each rung that the trial has passed: where its best so far is worse, with more steps, than the better half
    of the others were there, it stops; where there is one other only, that one has to have been better at two rungs. On
    a storage without a history it is Optuna's own.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to stop at its last check."""
        if super().prune(study, trial):
            return True
        if (history := history_of(study)) is None or self._min_resource is None:
            return False
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        best = min((sign * own for own in trial.intermediate_values.values() if math.isfinite(own)), default=math.inf)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study._study_id]
        rungs.read(history, lambda own: 0)
        behind_one = 0
        for rung in range(_get_current_rung(trial)):
            key = _completed_rung_key(rung)
            others = [
                own.system_attrs[key]
                for own in history.running
                if own._trial_id != trial._trial_id and key in own.system_attrs
            ]
            ranked = sorted(sign * own for own in [*rungs.at(0, key), *others])
            # Half, and not the share that goes on: early checks are noisy, and more steps are a handicap already.
            if len(ranked) >= FEWEST_OTHERS and best > ranked[len(ranked) // 2]:
                return True
            behind_one += len(ranked) == 1 and best > ranked[0]
        return behind_one >= FEWEST_RUNGS
