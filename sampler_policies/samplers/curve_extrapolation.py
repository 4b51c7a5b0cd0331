"""Learning-curve extrapolation of trials that were stopped early, and losses on a scale for a Gaussian process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes

FEWEST_FINISHED = 3
NORMAL = NormalDist()
# Steps with the best loss up to each.
Curve = list[tuple[int, float]]


def estimated_losses(trials: Sequence[FrozenTrial], sign: float) -> np.ndarray:
    """Return the loss of each finished trial, for pruned ones extrapolated along the learning curve.

    The best loss of a pruned trial is multiplied by the median improvement of the trials that trained further, from
    each step at which a trial has stopped to the next. So trials that were themselves pruned later contribute too, and
    no trial need be complete. A trial without a finite loss is as bad as the worst. (Actuaries call this the
    chain-ladder method.)

    Args:
        trials: COMPLETE and PRUNED trials of one objective.
        sign: 1.0 where the objective is minimised, -1.0 where it is maximised.

    Returns:
        Losses, lower is better, one a trial; finite unless no trial has a finite one.
    """
    curves = [_best_so_far(trial, sign) for trial in trials]
    finals = [sign * _value(trial) if trial.state == TrialState.COMPLETE else math.nan for trial in trials]
    longest = max((curve[-1][0] for curve in curves if curve), default=0)
    # A complete trial would not improve further: its curve counts as one up to the last step.
    known_curves = [
        [*curve, (max(longest, curve[-1][0]) + 1, final)] if math.isfinite(final) and curve else curve
        for curve, final in zip(curves, finals, strict=True)
    ]
    with_losses = [curve for curve in known_curves if curve]
    is_relative = all(loss > 0 for curve in with_losses for _, loss in curve)
    improvements = _improvements(with_losses, is_relative)
    losses = np.array(
        [
            final if math.isfinite(final) else _extrapolated(curve, improvements, is_relative) if curve else math.nan
            for curve, final in zip(curves, finals, strict=True)
        ]
    )
    known = losses[np.isfinite(losses)]
    return np.where(np.isfinite(losses), losses, known.max() if len(known) else 0.0)


def step_seconds(trial: FrozenTrial) -> float | None:
    """Return the seconds per training step of the trial; None where its training time was not recorded."""
    seconds, step = trial.user_attrs.get(attributes.TRAINING_SECONDS), trial.last_step
    return float(seconds) / step if step and isinstance(seconds, int | float) and seconds > 0 else None


def half_ranked(losses: np.ndarray) -> np.ndarray:
    """Return the losses with the worse half at the distances of a normal distribution, in the same order.

    A loss of 1e8 beside losses of 10 would dominate the scale of a model. Of bad trials only the order matters; of
    good ones the values do (Vizier's half-rank warping, arXiv:2408.11527).
    """
    median = float(np.median(losses))
    good = losses[losses <= median]
    spread = math.sqrt(float(np.mean((good - median) ** 2)))
    if spread == 0.0:
        spread = 1.0
    values, ranks = np.unique(losses, return_inverse=True)
    quantiles = np.maximum((np.arange(len(values)) + 0.5) / len(values), 0.5)
    warped = median + spread * np.array([NORMAL.inv_cdf(quantile) for quantile in quantiles])[ranks]
    # Both scales meet at the median; above it only the rank counts.
    return np.where(losses <= median, losses, np.maximum(warped, median))


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.values is None else float(trial.values[0])


def _best_so_far(trial: FrozenTrial, sign: float) -> Curve:
    """Return the steps of the trial's validation checks, each with the best loss up to it."""
    best, curve = math.inf, []
    for step, value in sorted(trial.intermediate_values.items()):
        best = min(best, sign * value) if math.isfinite(value) else best
        if math.isfinite(best):
            curve.append((step, best))
    return curve


def _improvements(curves: Sequence[Curve], is_relative: bool) -> list[tuple[int, float]]:
    """Return the median improvement from each step at which a trial has stopped to the next such step.

    Ratios, or differences where losses may be negative. Where few trials trained further, the missing ones count as
    trials without an improvement.
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


def _extrapolated(curve: Curve, improvements: Sequence[tuple[int, float]], is_relative: bool) -> float:
    step, loss = curve[-1]
    for before, change in improvements:
        if before >= step:
            loss = loss * change if is_relative else loss + change
    return loss


def _at(curve: Curve, step: int) -> float | None:
    before = [loss for checked_step, loss in curve if checked_step <= step]
    return before[-1] if before else None
