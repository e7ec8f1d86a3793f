"""Order statistics, runs and scaling of moving windows: every window is looked at afresh or by exact counts, so that
nothing depends on where the series begins. NaN only in front; a window with one gives NaN."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@njit(cache=True)
def first_known(values: Floats) -> int:
    """Return the row of the first value that is no NaN, their number where there is none."""
    for row in range(len(values)):
        if not math.isnan(values[row]):
            return row
    return len(values)


@njit(cache=True)
def rank(values: Floats, window: int) -> Floats:
    """Return the share of the last `window` values below the last one, equal others counting half: (n,) in 0..1."""
    out = np.full(len(values), np.nan)
    for row in range(first_known(values) + window - 1, len(values)):
        below, same, now = 0, 0, values[row]
        for past in range(row - window + 1, row):
            below += values[past] < now
            same += values[past] == now
        out[row] = (below + 0.5 * same) / (window - 1)
    return out


@njit(cache=True)
def quantiles(values: Floats, window: int, levels: Floats) -> Floats:
    """Return quantiles of the last `window` values, interpolated linearly: (n, levels)."""
    count = len(values)
    out = np.full((count, len(levels)), np.nan)
    start = first_known(values)
    if start + window > count:
        return out
    ordered = np.sort(values[start : start + window])
    for row in range(start + window - 1, count):
        if row >= start + window:
            hole = np.searchsorted(ordered, values[row - window])
            new = values[row]
            while hole + 1 < window and ordered[hole + 1] < new:
                ordered[hole] = ordered[hole + 1]
                hole += 1
            while hole > 0 and ordered[hole - 1] > new:
                ordered[hole] = ordered[hole - 1]
                hole -= 1
            ordered[hole] = new
        for index in range(len(levels)):
            place = levels[index] * (window - 1)
            low = int(place)
            high = min(low + 1, window - 1)
            out[row, index] = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    return out


@njit(cache=True)
def undone(returns: Floats, window: int, floor: float) -> Floats:
    """Return - sum of the returns since the window's largest one / that return, cut to -2..2, 0 where it is at most
    `floor`: (n,). Of equal ones the latest counts."""
    out = np.full(len(returns), np.nan)
    for row in range(first_known(returns) + window - 1, len(returns)):
        size, largest, since, total = 0.0, 0.0, 0.0, 0.0
        for past in range(row, row - window, -1):
            if abs(returns[past]) > size:
                size, largest, since = abs(returns[past]), returns[past], total
            total += returns[past]
        out[row] = 0.0 if size <= floor else min(max(-since / largest, -2.0), 2.0)
    return out


@njit(cache=True)
def entropy_of_codes(codes: Codes, kinds: int, window: int) -> Floats:
    """Return the Shannon entropy of the last `window` codes / log(kinds): (n,) in 0..1, by exact counts.

    `codes`: 0..kinds - 1, -1 where unknown, which only leading ones may be.
    """
    count = len(codes)
    out = np.full(count, np.nan)
    terms = np.zeros(window + 1)
    for times in range(1, window + 1):
        terms[times] = -times / window * math.log(times / window)
    seen = np.zeros(kinds, dtype=np.int64)
    held = 0
    for row in range(count):
        if codes[row] < 0:
            continue
        seen[codes[row]] += 1
        held += 1
        if held > window:
            seen[codes[row - window]] -= 1
        if held >= window:
            total = 0.0
            for kind in range(kinds):
                total += terms[seen[kind]]
            out[row] = total / math.log(kinds)
    return out


@njit(cache=True)
def ordinal_codes(values: Floats, order: int) -> Codes:
    """Return the number of the pattern in which the last `order` values lie, earlier before later among equals: (n,).

    Lehmer codes, 0..order! - 1; -1 until there are enough.
    """
    out = np.full(len(values), -1, dtype=np.int64)
    for row in range(first_known(values) + order - 1, len(values)):
        code = 0
        for left in range(order - 1):
            smaller = 0
            for right in range(left + 1, order):
                smaller += values[row - order + 1 + right] < values[row - order + 1 + left]
            code = code * (order - left) + smaller
        out[row] = code
    return out


@njit(cache=True)
def rescaled_range(returns: Floats, length: int, floor: float) -> Floats:
    """Return (highest - lowest) of the cumulated deviations from the mean / standard deviation of the last `length`
    returns, 0 where that is at most `floor`: (n,)."""
    out = np.full(len(returns), np.nan)
    for row in range(first_known(returns) + length - 1, len(returns)):
        mean = 0.0
        for past in range(row - length + 1, row + 1):
            mean += returns[past]
        mean /= length
        path, high, low, squares = 0.0, 0.0, 0.0, 0.0
        for past in range(row - length + 1, row + 1):
            away = returns[past] - mean
            path += away
            squares += away * away
            high, low = max(high, path), min(low, path)
        deviation = math.sqrt(squares / length)
        out[row] = (high - low) / deviation if deviation > floor else 0.0
    return out


@njit(cache=True)
def hurst(returns: Floats, window: int, expected: Floats, floor: float) -> Floats:
    """Return 0.5 + slope of log(R/S / expected R/S) on log of length, for lengths window / 8, 4, 2, 1: (n,).

    R/S of a length is the mean over the parts into which the window falls, parts that moved by at most `floor` left
    out. Cut to 0..1; 0.5 where fewer than two lengths have one. `expected`: (4,) R/S of independent returns.
    """
    out = np.full(len(returns), np.nan)
    ranges = np.empty((4, len(returns)))
    for level in range(4):
        ranges[level] = rescaled_range(returns, window // (8 >> level), floor)
    for row in range(first_known(returns) + window - 1, len(returns)):
        known, sx, sy, sxx, sxy = 0, 0.0, 0.0, 0.0, 0.0
        for level in range(4):
            parts = 8 >> level
            length, total, used = window // parts, 0.0, 0
            for part in range(parts):
                value = ranges[level, row - part * length]
                total += value
                used += value > 0.0
            if used > 0:
                x, y = math.log(length), math.log(total / used / expected[level])
                known, sx, sy, sxx, sxy = known + 1, sx + x, sy + y, sxx + x * x, sxy + x * y
        if known < 2:
            out[row] = 0.5
        else:
            slope = (known * sxy - sx * sy) / (known * sxx - sx * sx)
            out[row] = min(max(0.5 + slope, 0.0), 1.0)
    return out
