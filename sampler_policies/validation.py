"""The policy that chooses what trials are judged by: which windows at the end of each series."""

from __future__ import annotations

from sampler_policies.decision import Decision

MOST_HORIZONS = 5
# What validates a trial does not train it, and its newest observations tell a short series' trend best.
SMALLEST_PART = 10
# So many windows average out what one of them has of its own; more only take time, at every check of every trial.
ENOUGH_WINDOWS = 5000
# Windows that overlap by more than three quarters tell little that their neighbours do not.
WINDOWS_A_HORIZON = 4


def choose_validation(
    horizon: int, shortest: int, n_series: int, val_size: int | None, val_step_size: int | None
) -> Decision:
    """Decide how many observations at the end of each series are for validation, and how far apart its windows lie.

    Args:
        horizon: observations to forecast.
        shortest: the length of the shortest series.
        n_series: how many there are.
        val_size: the user's number of observations, or None.
        val_step_size: the user's distance of windows, or None.

    Returns:
        A decision with the arguments ``val_size`` and ``val_step_size``.
    """
    if val_size is not None:
        size, reason = val_size, "it was asked for"
    else:
        most = next(
            (own for own in range(MOST_HORIZONS, 1, -1) if _against(own, horizon, shortest, n_series) is None), 1
        )
        size, reason = most * horizon, _reason(most, horizon, shortest, n_series)
    if val_step_size is not None:
        apart = val_step_size
        reason += f"; windows {apart} apart, as was asked for"
    elif (apart := _apart(size, horizon)) > 1:
        reason += f"; windows {apart} apart overlap enough, and take less time than all"
    return Decision("validation", "windows", reason, {"val_size": size, "val_step_size": apart})


def _reason(most: int, horizon: int, shortest: int, n_series: int) -> str:
    last = f"{most} horizons" if most > 1 else "horizon"
    parts = [f"the last {last} of each series"]
    if most > 1:
        parts.append("a search that is judged by one window fits that window")
    if most < MOST_HORIZONS and (against := _against(most + 1, horizon, shortest, n_series)):
        parts.append(against)
    return "; ".join(parts)


def _against(horizons: int, horizon: int, shortest: int, n_series: int) -> str | None:
    """Return what speaks against so many horizons of validation."""
    size = horizons * horizon
    if SMALLEST_PART * size > shortest:
        return f"more would be over a tenth of the shortest series, {shortest} observations"
    if (windows := n_series * n_windows(size, horizon, _apart(size, horizon))) > ENOUGH_WINDOWS:
        return f"more would be {windows} windows, which take time and tell nothing new"
    return None


def n_windows(size: int, horizon: int, apart: int) -> int:
    """Return how many windows of a horizon lie in so many observations."""
    return (size - horizon) // apart + 1


def _apart(size: int, horizon: int) -> int:
    """Return the largest distance by which the first window and the last are both in."""
    if (between := size - horizon) == 0:
        return 1
    return max(own for own in range(1, max(2, horizon // WINDOWS_A_HORIZON + 1)) if between % own == 0)
