"""The policy of the prediction intervals around point forecasts: the past windows that their widths come from."""

from __future__ import annotations

from collections.abc import Sequence

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError

# The errors of 20 windows, of both signs, reach a level of 95 %. Windows cost no training: one forecasts them all.
MOST_WINDOWS = 20
# NeuralForecast needs two windows.
FEWEST_WINDOWS = 2
# What the windows may take of the shortest series, from the training that forecasts them.
SMALLEST_PART = 4


def choose_intervals(levels: Sequence[int], horizon: int, shortest: int, smallest_training: int) -> Decision:
    """Decide on the windows at the end of each series that the conformal intervals are computed from.

    Args:
        levels: of the intervals, in percent.
        horizon: observations to forecast.
        shortest: the length of the shortest series, without the holdout.
        smallest_training: observations that a training needs.

    Returns:
        A decision with the arguments ``windows`` and ``step_size``, the observations between two of them.

    Raises:
        InputError: the shortest series has no room for two windows.
    """
    room = min(max(shortest // SMALLEST_PART, 2 * horizon), shortest - smallest_training)
    if room < horizon + FEWEST_WINDOWS - 1:
        problem = f"the shortest series has {shortest} observations before the holdout, {room} beside a training"
        remedy = f"{problem}, and intervals need {horizon + 1}: leave --level out, or the shortest series."
        raise InputError("level", list(levels), remedy)
    step_size = max(1, min(horizon, (room - horizon) // (MOST_WINDOWS - 1)))
    windows = min(MOST_WINDOWS, 1 + (room - horizon) // step_size)
    reason = f"conformal intervals take their widths from the errors of the newest {windows} windows"
    choice = f"{', '.join(f'{level} %' for level in levels)} from {windows} windows"
    return Decision("intervals", choice, reason, {"windows": windows, "step_size": step_size})
