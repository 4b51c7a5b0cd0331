"""Resamples of errors by series and by window, drawn independently: the pigeonhole bootstrap (Owen, 2007)."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Draws at once: their counts stay in the processor's cache. Otherwise many series take twice as long.
_DRAWS = 30_000


def resample_sums(cells: Array, n: int, generator: np.random.Generator) -> Array:
    """Return the sums of both errors (n x 2) over resampled cells (series x 2 x windows)."""
    n_series, _, n_windows = cells.shape
    flat, sums = cells.reshape(n_series, -1).T.copy(), np.empty((2 * n_windows, n))
    chunk = max(1, _DRAWS // n_series)
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        drawn = generator.integers(0, n_series, (size, n_series)) + np.arange(size)[:, None] * n_series
        counts = np.bincount(drawn.ravel(), minlength=size * n_series).reshape(size, n_series)
        sums[:, start : start + size] = flat @ counts.T.astype(float)
    windows = generator.multinomial(n_windows, np.full(n_windows, 1 / n_windows), n).astype(float)
    return cast("Array", np.einsum("kwn,nw->nk", sums.reshape(2, n_windows, n), windows))
