"""What trials that were stopped early would have come to, and losses on a scale that a model can learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from optuna.trial import FrozenTrial, TrialState

FEWEST_FINISHED = 3
# Where a trial's training is over, how long it took.
SECONDS = "training_seconds"
NORMAL = NormalDist()
# Steps with the best loss up to each.
Curve = list[tuple[int, float]]


def estimated_losses(trials: Sequence[FrozenTrial], sign: float) -> np.ndarray:
    """Return each finished trial's loss, for a pruned one what it would probably have come to.

    A pruned trial's best check so far is carried on by as much as those that went further improved, at the median,
    from each step at which one has stopped to the next: so also trials that are stopped themselves later say how much
    training brings, and there need not be a complete one. One that reported nothing finite is as bad as the worst.
    (Actuaries know this as the chain-ladder method.)

    Args:
        trials: COMPLETE and PRUNED trials of one objective.
        sign: 1.0 where the objective is minimised, -1.0 where it is maximised.

    Returns:
        Losses, lower is better, one a trial; finite unless no trial has a finite one.
    """
    curves = [_best_so_far(trial, sign) for trial in trials]
    finals = [sign * _value(trial) if trial.state == TrialState.COMPLETE else math.nan for trial in trials]
    longest = max((curve[-1][0] for curve in curves if curve), default=0)
    # What is complete would not improve any more: it stands for a curve that goes to the end.
    known_curves = [
        [*curve, (max(longest, curve[-1][0]) + 1, final)] if math.isfinite(final) and curve else curve
        for curve, final in zip(curves, finals, strict=True)
    ]
    seen = [curve for curve in known_curves if curve]
    is_relative = all(loss > 0 for curve in seen for _, loss in curve)
    improvements = _improvements(seen, is_relative)
    losses = np.array(
        [
            final if math.isfinite(final) else _carried_on(curve, improvements, is_relative) if curve else math.nan
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


def _best_so_far(trial: FrozenTrial, sign: float) -> Curve:
    """Return the steps at which the trial was checked, with the best loss up to each."""
    best, curve = math.inf, []
    for step, value in sorted(trial.intermediate_values.items()):
        best = min(best, sign * value) if math.isfinite(value) else best
        if math.isfinite(best):
            curve.append((step, best))
    return curve


def _improvements(curves: Sequence[Curve], is_relative: bool) -> list[tuple[int, float]]:
    """Return how much trials improved up to each step at which one has stopped, from the step before it.

    Ratios, or differences where losses may be negative. Where few trials have gone on, the others are not believed
    to have improved more than they.
    """
    stops = sorted({curve[-1][0] for curve in curves})
    improvements = []
    for before, after in pairwise(stops):
        pairs = [(_at(curve, before), _at(curve, after)) for curve in curves if curve[-1][0] >= after]
        changes = [
            now / then if is_relative else now - then for then, now in pairs if then is not None and now is not None
        ]
        nothing = [1.0 if is_relative else 0.0] * (FEWEST_FINISHED - len(changes))
        improvements.append((before, float(np.median([*changes, *nothing]))))
    return improvements


def _carried_on(curve: Curve, improvements: Sequence[tuple[int, float]], is_relative: bool) -> float:
    step, loss = curve[-1]
    for before, change in improvements:
        if before >= step:
            loss = loss * change if is_relative else loss + change
    return loss


def _at(curve: Curve, step: int) -> float | None:
    before = [loss for own, loss in curve if own <= step]
    return before[-1] if before else None
