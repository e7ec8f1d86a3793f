"""Lengths of runs."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)
def signed_runs(values: Floats) -> Floats:
    """Return how many times in a row the series rose (+) or fell (-) up to each row, 0 where it rests: (n,)."""
    out = np.zeros(len(values))
    for row in range(1, len(values)):
        if values[row] > values[row - 1]:
            out[row] = max(out[row - 1], 0.0) + 1.0
        elif values[row] < values[row - 1]:
            out[row] = min(out[row - 1], 0.0) - 1.0
    return out


@njit(cache=True)
def bars_since_change(values: Floats, reach: int) -> Floats:
    """Return bars since the value last changed, at most `reach`: (n,); NaN where the value is, `reach` before any."""
    out = np.full(len(values), np.nan)
    since = reach
    for row in range(len(values)):
        if np.isnan(values[row]):
            continue
        since = min(since + 1, reach)
        if row > 0 and not np.isnan(values[row - 1]) and values[row] != values[row - 1]:
            since = 0
        out[row] = since
    return out
