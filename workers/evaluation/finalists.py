"""The finalists of a search: its best distinct configurations, and always the model's defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.storage.budget.default_slot import is_default

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Finalist:
    """A configuration that is judged again.

    Attributes:
        trial: the number of its trial.
        value: its best validation loss; of a pruned trial too.
        step: the step of that loss, up to which it is trained.
        seconds: an estimate of the time of that training.
        is_default: whether it is the model's default configuration.
    """

    trial: int
    value: float
    step: int
    seconds: float
    is_default: bool


def find_finalists(trials: Sequence[FrozenTrial], most: int) -> list[Finalist]:
    """Return the best distinct configurations, best first, and the default one last where it is not among them.

    A trial's value is its best validation loss, also of a pruned one: it was stopped because others were better at that
    step, and may be worth more in an average than they are. A configuration that several trials have counts once, with
    its best trial; it is the default one if one of them is an attempt at the defaults.

    Args:
        trials: of the study.
        most: the number of finalists without the default configuration.
    """
    found: dict[str, Finalist] = {}
    default: str | None = None
    for trial in sorted((trial for trial in trials if _value(trial) is not None), key=_order):
        configuration = _configuration(trial)
        found.setdefault(configuration, _describe(trial))
        if default is None and is_default(trial):
            default = configuration
    if default is None:
        return list(found.values())[:most]
    found[default] = replace(found[default], is_default=True)
    best = list(found.values())[:most]
    return best if found[default] in best else [*best, found[default]]


def _value(trial: FrozenTrial) -> float | None:
    """Return the trial's best validation loss; None where it ended otherwise, or diverged before the first check."""
    if trial.state not in ENDED or not trial.user_attrs.get(attributes.BEST_STEP):
        return None
    return trial.value if trial.state == TrialState.COMPLETE else min(trial.intermediate_values.values(), default=None)


def _order(trial: FrozenTrial) -> tuple[float, int]:
    value = _value(trial)
    assert value is not None
    return value, trial.number


def _describe(trial: FrozenTrial) -> Finalist:
    step, value = int(trial.user_attrs[attributes.BEST_STEP]), _value(trial)
    assert value is not None
    trained = max(trial.last_step or step, step, 1)
    seconds = float(trial.user_attrs.get(attributes.TRAINING_SECONDS, 0.0)) * step / trained
    return Finalist(trial.number, value, step, seconds, is_default=False)


def _configuration(trial: FrozenTrial) -> str:
    config: Mapping[str, object] = trial.user_attrs.get(attributes.CONFIG) or trial.params
    return json.dumps(config, sort_keys=True, default=repr)
