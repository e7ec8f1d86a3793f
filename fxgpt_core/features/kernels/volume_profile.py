"""The volume profile of a moving window: every window is counted afresh, so that nothing depends on where it began."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POC, AREA_HIGH, AREA_LOW, PLACE, ENTROPY, SKEW, AT_CLOSE, BELOW, SPREAD = range(9)
"""Columns of a profile."""

_EDGE = 1e-9
"""Share of a bin by which prices on a bin's edge are moved inside, so that rounding cannot change their bin."""


@njit(cache=True)
def profiles(prices: tuple[Floats, Floats, Floats], volume: Floats, window: int, bins: int, area: float) -> Floats:
    """Return the profile of the last `window` bars at each bar: (bars, 9), NaN until the window is full.

    `prices`: high, low, close. The window's range is cut into `bins`; each bar's volume is spread evenly over the bins
    it touched, and counts as 1 in a window in which some volume is missing or none was traded. Columns, in prices:
    point of control (the fullest bin's middle, the lowest of several), high and low of the value area (grown from there
    by the fuller neighbour, the lower of two equal ones, until it holds `area` of all volume); as shares: place of the
    point of control in the range, entropy / log(bins), skewness, volume at the close's bin / at the point of control,
    volume below the close, standard deviation of the profile / range. A window without a range is a single price.
    """
    high, low, close = prices
    size = len(close)
    out = np.full((size, 9), np.nan)
    per_bin = 1.0 / np.arange(1, bins + 1).astype(np.float64)
    edges, profile = np.zeros(bins + 1), np.zeros(bins)
    missing = 0
    for row in range(size):
        missing += not volume[row] >= 0.0
        if row >= window:
            missing -= not volume[row - window] >= 0.0
        if row < window - 1:
            continue
        top, bottom, traded = high[row], low[row], 0.0
        for past in range(row - window + 1, row + 1):
            top, bottom = max(top, high[past]), min(bottom, low[past])
            traded += volume[past]
        span = top - bottom
        if span <= 1e-9 * close[row]:
            out[row] = (close[row], top, bottom, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0)
            continue
        counted = missing == 0 and traded > 0.0
        factor = bins / span
        edges[:] = 0.0
        for past in range(row - window + 1, row + 1):
            first = min(int((low[past] - bottom) * factor + _EDGE), bins - 1)
            last = max(first, int((high[past] - bottom) * factor - _EDGE))
            share = (volume[past] if counted else 1.0) * per_bin[last - first]
            edges[first] += share
            edges[last + 1] -= share
        held, total = 0.0, 0.0
        for index in range(bins):
            held += edges[index]
            profile[index] = max(held, 0.0)
            total += profile[index]
        _measure(profile, total, (close[row] - bottom) * factor, area, out[row])
        for column in (POC, AREA_HIGH, AREA_LOW):
            out[row, column] = bottom + out[row, column] / factor
    return out


@njit(cache=True)
def _measure(profile: Floats, total: float, close: float, area: float, out: Floats) -> None:
    """Write the columns of a profile to `out`, prices in bins from the bottom; `close` is in bins too."""
    bins = len(profile)
    top = 0
    for index in range(1, bins):
        # Equal bins differ by rounding: a later one must be fuller by more than that.
        if profile[index] > profile[top] * (1.0 + _EDGE):
            top = index
    low, high, inside = top, top, profile[top]
    while inside < area * total * (1.0 - _EDGE):
        below = profile[low - 1] if low > 0 else -1.0
        above = profile[high + 1] if high < bins - 1 else -1.0
        if above > below * (1.0 + _EDGE) or below < 0.0:
            high += 1
            inside += above
        else:
            low -= 1
            inside += below
    entropy, mean = 0.0, 0.0
    for index in range(bins):
        share = profile[index] / total
        mean += share * (index + 0.5)
        if share > 1e-12:
            entropy -= share * math.log(share)
    variance, third = 0.0, 0.0
    for index in range(bins):
        share, away = profile[index] / total, index + 0.5 - mean
        variance += share * away * away
        third += share * away * away * away
    at = max(0, min(int(close + _EDGE), bins - 1))
    under = profile[at] * min(1.0, close - at)
    for index in range(at):
        under += profile[index]
    out[POC], out[AREA_HIGH], out[AREA_LOW] = top + 0.5, high + 1.0, low
    out[PLACE], out[ENTROPY] = (top + 0.5) / bins, entropy / math.log(bins)
    out[SKEW] = third / variance**1.5 if variance > _EDGE else 0.0
    out[AT_CLOSE], out[BELOW] = profile[at] / profile[top], under / total
    out[SPREAD] = math.sqrt(variance) / bins
