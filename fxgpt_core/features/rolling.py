"""Rolling sums and recursive averages whose value at t is the same bits however the series is cut after t.

Running sums drift with where they start. These sums add the same bars in the same order for every window, so a value
depends on its window alone (DESIGN, "Canonical blocks").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EWMA_START: Floats = np.zeros(2)
"""State of `ewma_on` before the first value."""


def rolling_sum(values: Floats, window: int) -> Floats:
    """Return the sum over the last `window` values, NaN until the window is full or where it holds a NaN: (n,).

    Sums of 1, 2, 4 … values are doubled up and joined by the binary digits of `window`: O(n log window), and every
    window is added in the same order.
    """
    if len(values) < window:
        return np.full(len(values), np.nan)
    block, size, covered = values, 1, 0
    total: Floats | None = None
    while True:
        if window & size:
            total = block if total is None else _plus(total, block, covered)
            covered += size
        if covered == window:
            return total.copy() if total is values else np.asarray(total)
        block = _plus(block, block, size)
        size *= 2


def rolling_mean(values: Floats, window: int) -> Floats:
    """Return the mean over the last `window` values: (n,)."""
    return rolling_sum(values, window) / window


def rolling_std(values: Floats, window: int) -> Floats:
    """Return the population standard deviation over the last `window` values: (n,)."""
    mean = rolling_mean(values, window)
    return np.asarray(np.sqrt(np.maximum(rolling_mean(values * values, window) - mean * mean, 0.0)))


def ewma(values: Floats, half_life: float) -> Floats:
    """Return the exponentially weighted mean since the first value, weights normalised to one: (n,).

    `half_life` in bars. Values must be finite; evaluated in order, hence independent of what follows.
    """
    return ewma_on(values, half_life, EWMA_START)[0]


def ewma_on(values: Floats, half_life: float, state: Floats) -> tuple[Floats, Floats]:
    """Return `ewma` of values (n,) that follow those which left `state` (2,), and the state they leave in turn.

    A series in parts gives the bits of the whole: it is the same filter, stopped and started.
    """
    from scipy.signal import lfilter

    decay = 0.5 ** (1.0 / half_life)
    gain, back = [1.0 - decay], [1.0, -decay]
    weighted, sums = lfilter(gain, back, values, zi=state[:1])
    weights, counts = lfilter(gain, back, np.ones(len(values)), zi=state[1:])
    return np.asarray(weighted / weights, dtype=np.float64), np.concatenate([sums, counts])


def _plus(values: Floats, earlier: Floats, by: int) -> Floats:
    """Return values + what stood `by` bars earlier, NaN where there was nothing: (n,)."""
    out = np.empty(len(values))
    out[:by] = np.nan
    np.add(values[by:], earlier[: len(values) - by], out=out[by:])
    return out
