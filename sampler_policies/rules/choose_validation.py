"""The policy that chooses the validation windows: how much of the end of each series, and at what distance."""

from __future__ import annotations

from castpool.sampler_policies.decision import Decision

MOST_HORIZONS = 5
# Validation observations are lost for training, and they are the newest: a short series' trend shows in them best.
SMALLEST_PART = 10
# This many windows average out the noise of single ones; more cost time at every check of every trial.
ENOUGH_WINDOWS = 5000
# Windows that overlap by more than three quarters add little information.
WINDOWS_A_HORIZON = 4


def choose_validation(
    horizon: int, shortest: int, n_series: int, val_size: int | None, val_step_size: int | None
) -> Decision:
    """Decide how many observations at the end of each series validate, and the distance between validation windows.

    Args:
        horizon: observations to forecast.
        shortest: the length of the shortest series.
        n_series: the number of series.
        val_size: the number of observations that the user set, or None.
        val_step_size: the distance between windows that the user set, or None.

    Returns:
        A decision with the arguments ``val_size`` and ``val_step_size``.
    """
    if val_size is not None:
        size, reason = val_size, "val_size is set by the user"
    else:
        n_horizons = next(
            (count for count in range(MOST_HORIZONS, 1, -1) if _objection(count, horizon, shortest, n_series) is None),
            1,
        )
        size, reason = n_horizons * horizon, _reason(n_horizons, horizon, shortest, n_series)
    if val_step_size is not None:
        distance = val_step_size
        reason += f"; windows {distance} apart, set by the user"
    elif (distance := _distance(size, horizon)) > 1:
        reason += f"; windows {distance} apart: closer ones cost time and add little information"
    return Decision("validation", "windows", reason, {"val_size": size, "val_step_size": distance})


def _reason(n_horizons: int, horizon: int, shortest: int, n_series: int) -> str:
    last = f"{n_horizons} horizons" if n_horizons > 1 else "horizon"
    parts = [f"the last {last} of each series"]
    if n_horizons > 1:
        parts.append("a search that is validated on one window overfits to that window")
    if n_horizons < MOST_HORIZONS and (objection := _objection(n_horizons + 1, horizon, shortest, n_series)):
        parts.append(objection)
    return "; ".join(parts)


def _objection(n_horizons: int, horizon: int, shortest: int, n_series: int) -> str | None:
    """Return why so many horizons of validation are rejected; None where they fit."""
    size = n_horizons * horizon
    if SMALLEST_PART * size > shortest:
        return f"more would be over a tenth of the shortest series, {shortest} observations"
    if (windows := n_series * n_windows(size, horizon, _distance(size, horizon))) > ENOUGH_WINDOWS:
        return f"more would be {windows} windows, which cost time and add little information"
    return None


def n_windows(size: int, horizon: int, distance: int) -> int:
    """Return the number of windows of one horizon, at this distance, in so many observations."""
    return (size - horizon) // distance + 1


def _distance(size: int, horizon: int) -> int:
    """Return the largest distance at which the first window and the last are both included."""
    if (between := size - horizon) == 0:
        return 1
    widest = max(2, horizon // WINDOWS_A_HORIZON + 1)
    return max(distance for distance in range(1, widest) if between % distance == 0)
