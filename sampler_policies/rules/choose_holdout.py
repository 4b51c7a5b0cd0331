"""The policy of the holdout: the newest observations, which judge the result and nothing else."""

from __future__ import annotations

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError

# A series of fewer horizons has none to spare: search, verification and training need them.
FEWEST_HORIZONS = 5
# More horizons than one may take a tenth of a series, as the validation may.
SMALLEST_PART = 10
MOST_HORIZONS = 5
# Windows of all series together: enough for an interval around a difference.
ENOUGH_WINDOWS = 20


def choose_holdout(horizon: int, shortest: int, n_series: int, holdout: int | None) -> Decision:
    """Decide how many observations at the end of each series judge the result.

    Args:
        horizon: observations to forecast.
        shortest: the length of the shortest series.
        n_series: the number of series.
        holdout: the number of observations that the user set, or None.

    Returns:
        A decision with the argument ``holdout``.

    Raises:
        InputError: a holdout that holds no window.
    """
    if holdout is not None:
        if 0 < holdout < horizon:
            raise InputError("holdout", holdout, f"write at least the horizon, {horizon}, or 0 for none.")
        choice = f"{holdout} observations" if holdout else "none"
        return Decision("holdout", choice, "set by the user", {"holdout": holdout})
    if shortest < FEWEST_HORIZONS * horizon:
        reason = f"the shortest series, {shortest} observations, is under {FEWEST_HORIZONS} horizons"
        return Decision("holdout", "none", f"{reason}; --holdout sets one", {"holdout": 0})
    fitting = max(1, min(MOST_HORIZONS, shortest // (SMALLEST_PART * horizon)))
    n_horizons = next((count for count in range(1, fitting) if count * n_series >= ENOUGH_WINDOWS), fitting)
    newest = f"the newest {n_horizons} horizons" if n_horizons > 1 else "the newest horizon"
    size = n_horizons * horizon
    reason = f"{newest} of each series: the search never uses them, so the verdict on them is honest"
    return Decision("holdout", f"{size} observations", reason, {"holdout": size})
