"""What trials that were stopped early would have come to, and losses on a scale that a model can learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from optuna.trial import FrozenTrial, TrialState

FEWEST_FINISHED = 3
# Where a trial's training is over, how long it took.
SECONDS = "training_seconds"
NORMAL = NormalDist()


def estimated_losses(trials: Sequence[FrozenTrial], sign: float) -> np.ndarray:
    """Return each finished trial's loss, for a pruned one what it would probably have come to.

    A pruned trial's best check so far is carried on by as much as the complete trials improved from the same step to
    their end, at the median. One that reported nothing finite is as bad as the worst.

    Args:
        trials: COMPLETE and PRUNED trials of one objective.
        sign: 1.0 where the objective is minimised, -1.0 where it is maximised.

    Returns:
        Losses, lower is better, one a trial; finite unless no trial has a finite one.
    """
    curves = [_best_so_far(trial, sign) for trial in trials]
    finals = [sign * _value(trial) if trial.state == TrialState.COMPLETE else math.nan for trial in trials]
    finished = [(curve, final) for curve, final in zip(curves, finals, strict=True) if math.isfinite(final)]
    losses = np.array(
        [
            final if math.isfinite(final) else _carried_on(curve, finished)
            for curve, final in zip(curves, finals, strict=True)
        ]
    )
    known = losses[np.isfinite(losses)]
    return np.where(np.isfinite(losses), losses, known.max() if len(known) else 0.0)


def step_seconds(trial: FrozenTrial) -> float | None:
    """Return how long the trial's training steps took, in seconds each; None where nobody wrote it down."""
    seconds, step = trial.user_attrs.get(SECONDS), trial.last_step
    return float(seconds) / step if step and isinstance(seconds, int | float) and seconds > 0 else None


def half_ranked(losses: np.ndarray) -> np.ndarray:
    """Return the losses with the worse half at the distances of a normal distribution, in the same order.

    A loss of 1e8 beside losses of 10 leaves a model of their values nothing to see but itself. What matters among
    bad trials is their order; among good ones, the values (Vizier's half-rank warping, arXiv:2408.11527).
    """
    median = float(np.median(losses))
    good = losses[losses <= median]
    spread = math.sqrt(float(np.mean((good - median) ** 2)))
    if spread == 0.0:
        spread = 1.0
    values, ranks = np.unique(losses, return_inverse=True)
    quantiles = np.maximum((np.arange(len(values)) + 0.5) / len(values), 0.5)
    warped = median + spread * np.array([NORMAL.inv_cdf(own) for own in quantiles])[ranks]
    # At the median both scales meet; above it only the rank counts.
    return np.where(losses <= median, losses, np.maximum(warped, median))


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.values is None else float(trial.values[0])


def _best_so_far(trial: FrozenTrial, sign: float) -> list[tuple[int, float]]:
    """Return the steps at which the trial was checked, with the best loss up to each."""
    best, curve = math.inf, []
    for step, value in sorted(trial.intermediate_values.items()):
        best = min(best, sign * value) if math.isfinite(value) else best
        if math.isfinite(best):
            curve.append((step, best))
    return curve


def _carried_on(curve: list[tuple[int, float]], finished: list[tuple[list[tuple[int, float]], float]]) -> float:
    if not curve:
        return math.nan
    step, loss = curve[-1]
    pairs = [(at_step, final) for other, final in finished if (at_step := _at(other, step)) is not None]
    if len(pairs) < FEWEST_FINISHED:
        return loss
    if loss > 0 and all(then > 0 and final > 0 for then, final in pairs):
        return loss * float(np.median([final / then for then, final in pairs]))
    return loss + float(np.median([final - then for then, final in pairs]))


def _at(curve: list[tuple[int, float]], step: int) -> float | None:
    before = [loss for own, loss in curve if own <= step]
    return before[-1] if before else None
