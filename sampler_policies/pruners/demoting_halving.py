"""Demoting successive halving: promoted trials are compared again at every rung."""

from __future__ import annotations

import math
from collections import defaultdict

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from castpool.private_api.optuna import current_rung_of, rung_key, study_id_of, trial_id_of
from castpool.sampler_policies.pruners.incremental import IncrementalSuccessiveHalvingPruner, Rungs, trial_cache_of

# A single other trial may have been better by chance at one rung, hardly at two.
FEWEST_OTHERS = 2
FEWEST_RUNGS = 2


class DemotingHalvingPruner(IncrementalSuccessiveHalvingPruner):
    """Successive halving that also stops promoted trials whose best loss falls behind the median of a rung.

    Asynchronous successive halving (Li et al., arXiv:1810.05934) promotes the first trials, as their rungs have no
    other trials yet, and never compares them again: where trials are slow, these take most of a time budget. This
    pruner compares the trial at every check with the other trials at each rung that it has passed: it stops where its
    best loss, after more steps, is worse than the median of the others at that rung. A single other trial must have
    been better at two rungs. On a storage without a trial cache it decides as Optuna's `SuccessiveHalvingPruner`.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop at its last check."""
        if super().prune(study, trial):
            return True
        if (cache := trial_cache_of(study)) is None or self._min_resource is None:
            return False
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        losses = [sign * value for value in trial.intermediate_values.values() if math.isfinite(value)]
        best = min(losses, default=math.inf)
        rungs = self.__dict__.setdefault("_rungs", defaultdict(Rungs))[study_id_of(study)]
        rungs.read(cache, lambda _: 0)
        behind_one = 0
        for rung in range(current_rung_of(trial)):
            key = rung_key(rung)
            others = [
                other.system_attrs[key]
                for other in cache.running
                if trial_id_of(other) != trial_id_of(trial) and key in other.system_attrs
            ]
            ranked = sorted(sign * value for value in [*rungs.at(0, key), *others])
            # The median, not the share that is promoted: early checks are noisy, and this trial has had more steps.
            if len(ranked) >= FEWEST_OTHERS and best > ranked[len(ranked) // 2]:
                return True
            behind_one += len(ranked) == 1 and best > ranked[0]
        return behind_one >= FEWEST_RUNGS
