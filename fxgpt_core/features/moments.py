"""What counts as no movement; drift and correlations, by sums that do not depend on where a series begins."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Floats
from fxgpt_core.features.rolling import rolling_mean, rolling_sum

FLOOR = 1e-6
"""Volatility, range, return or width, relative to the price, below which nothing counts as having moved and at which
logs are cut: a hundredth of a pip at par."""

STILL = FLOOR**2
"""Variance below which a series of returns, logs or shares counts as standing still (a hundredth of a pip, squared)."""


def shifted(values: Floats, by: int) -> Floats:
    """Return values moved `by` >= 1 bars later, NaN in front: (n,)."""
    out = np.full(len(values), np.nan)
    out[by:] = values[: max(len(values) - by, 0)]
    return out


def drift(returns: Floats, window: int) -> Floats:
    """Return the sum over the window / root of the sum of squares, 0 where nothing moved: (n,)."""
    total, energy = rolling_sum(returns, window), rolling_sum(returns * returns, window)
    still = energy <= window * FLOOR**2
    return np.where(still, 0.0, total / np.sqrt(np.where(still, 1.0, energy)))


def rolling_correlation(left: Floats, right: Floats, window: int) -> Floats:
    """Return Pearson's correlation over the last `window` pairs, 0 where one of them stands still: (n,).

    NaN until the window is full or where it holds a NaN. Meant for values of the order of returns, logs or shares:
    variances below `STILL` count as none.
    """
    pairs = left + right  # NaN where either is
    left, right = np.where(np.isnan(pairs), np.nan, left), np.where(np.isnan(pairs), np.nan, right)
    a, b = rolling_mean(left, window), rolling_mean(right, window)
    spread_a, spread_b = rolling_mean(left * left, window) - a * a, rolling_mean(right * right, window) - b * b
    still = (spread_a <= STILL) | (spread_b <= STILL)
    together = rolling_mean(left * right, window) - a * b
    out = together / np.sqrt(np.where(still, 1.0, spread_a * spread_b))
    return np.where(still, 0.0, np.clip(out, -1.0, 1.0))


def autocorrelation(values: Floats, lag: int, window: int) -> Floats:
    """Return the correlation of values with those `lag` bars before, over `window` pairs: (n,)."""
    return rolling_correlation(values, shifted(values, lag), window)
