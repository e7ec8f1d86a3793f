"""Loops of market structure. Everything is known at its row, and nothing older than `reach` bars is remembered.

Highs and lows are told apart by sign alone: what holds for lows is computed as highs of negated prices.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@njit(cache=True)
def confirmed_highs(high: Floats, width: int) -> Whole:
    """Return at each row the row of the swing high that this bar confirms, -1 where it confirms none: (bars,).

    A swing high is above the `width` bars before it and not below the `width` bars after it: of equal highs the first.
    """
    out = np.full(len(high), -1, dtype=np.int64)
    for row in range(2 * width, len(high)):
        top = row - width
        found = True
        for step in range(1, width + 1):
            if high[top - step] >= high[top] or high[top + step] > high[top]:
                found = False
                break
        if found:
            out[row] = top
    return out


@njit(cache=True)
def last_two(confirmed: Whole, high: Floats, reach: int) -> tuple[Floats, Floats, Floats]:
    """Return the last confirmed swing high, the one before it and the age of the last, in bars, (bars,) each.

    Swings older than `reach` bars are NaN, and the age is then `reach`.
    """
    size = len(high)
    last, prior = np.full(size, np.nan), np.full(size, np.nan)
    age = np.full(size, float(reach))
    newest, before = -1, -1
    for row in range(size):
        if confirmed[row] >= 0:
            before, newest = newest, confirmed[row]
        if newest >= 0 and row - newest <= reach:
            last[row] = high[newest]
            age[row] = row - newest
            if before >= 0 and row - before <= reach:
                prior[row] = high[before]
    return last, prior, age


@njit(cache=True)
def breaks(high: Floats, low: Floats, close: Floats, tops: Whole, bottoms: Whole, reach: int) -> tuple[Floats, Floats]:
    """Return breaks of structure and liquidity sweeps, +1, -1 or 0 at each row, (bars,) each.

    A break is the first close beyond the last confirmed swing (+1 above a high, -1 below a low); a sweep is a bar that
    trades beyond an unbroken swing and closes back inside (-1 at a high, +1 at a low). Swings are remembered for
    `reach` bars. `tops`, `bottoms`: rows of swings at the rows that confirm them, -1 elsewhere.
    """
    size = len(close)
    broke, swept = np.zeros(size), np.zeros(size)
    top, bottom = -1, -1
    for row in range(size):
        top = tops[row] if tops[row] >= 0 else top
        bottom = bottoms[row] if bottoms[row] >= 0 else bottom
        if top >= 0 and row - top > reach:
            top = -1
        if bottom >= 0 and row - bottom > reach:
            bottom = -1
        if top >= 0 and close[row] > high[top]:
            broke[row], top = 1.0, -1
        elif top >= 0 and high[row] > high[top] > close[row]:
            swept[row] = -1.0
        if bottom >= 0 and close[row] < low[bottom]:
            broke[row], bottom = -1.0, -1
        elif bottom >= 0 and low[row] < low[bottom] < close[row]:
            swept[row] = 1.0
    return broke, swept


@njit(cache=True)
def faded(events: Floats, reach: int) -> Floats:
    """Return the last event that is not 0 x (1 - bars since / reach), 0 from `reach` bars on: (bars,)."""
    out = np.zeros(len(events))
    last, since = 0.0, 0
    for row in range(len(events)):
        if events[row] != 0.0:
            last, since = events[row], row
        out[row] = last * max(0.0, 1.0 - (row - since) / reach)
    return out


@njit(cache=True)
def order_blocks(
    prices: tuple[Floats, Floats, Floats, Floats], scale: Floats, thrust: float, back: int, reach: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return of bullish order blocks the nearest one's middle and age, how many are open, and the displacement's age.

    `prices`: open, high, low, close. A displacement is a body of at least `thrust` x the `scale` of the bar before it;
    its block is the last falling bar among the `back` bars before it, if the displacement closes above it and no
    earlier one made it a block. A block is open from the displacement until a later bar trades down to its middle, at
    most `reach` bars. The nearest has the highest middle: NaN where none is open; ages are then `reach`. (bars,) each.
    """
    opened, high, low, close = prices
    size = len(close)
    nearest, count = np.full(size, np.nan), np.zeros(size)
    age, thrust_age = np.full(size, float(reach)), np.full(size, float(reach))
    middles, since = np.empty(reach + 1), np.empty(reach + 1, dtype=np.int64)
    held, last_thrust, origin = 0, -reach, -1
    for row in range(size):
        kept = 0
        for index in range(held):
            if low[row] > middles[index] and row - since[index] < reach:
                middles[kept], since[kept] = middles[index], since[index]
                kept += 1
        held = kept
        # The row before the first has no scale: comparing with NaN is false.
        if row > 0 and close[row] > opened[row] and close[row] - opened[row] >= thrust * scale[row - 1]:
            last_thrust = row
            for before in range(row - 1, max(-1, row - 1 - back), -1):
                if close[before] < opened[before]:
                    if close[row] > high[before] and before != origin:
                        origin = before
                        middles[held], since[held] = 0.5 * (high[before] + low[before]), row
                        held += 1
                    break
        thrust_age[row] = min(row - last_thrust, reach)
        count[row] = held
        for index in range(held):
            if not middles[index] <= nearest[row]:
                nearest[row], age[row] = middles[index], row - since[index]
    return nearest, age, count, thrust_age


@njit(cache=True)
def fair_value_gaps(
    high: Floats, low: Floats, scale: Floats, smallest: float, reach: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return of upward gaps the nearest open one's lower edge, age and size, and how many are open, (bars,) each.

    A gap opens at a bar whose low lies above the high two bars before, by at least `smallest` x `scale`, and stays
    open until a later bar trades down to that high, at most `reach` bars. NaN, `reach` and 0 where none is open.
    """
    size = len(high)
    nearest, count = np.full(size, np.nan), np.zeros(size)
    age, extent = np.full(size, float(reach)), np.zeros(size)
    edges, sizes = np.empty(reach + 1), np.empty(reach + 1)
    since = np.empty(reach + 1, dtype=np.int64)
    held = 0
    for row in range(size):
        kept = 0
        for index in range(held):
            if low[row] > edges[index] and row - since[index] < reach:
                edges[kept], sizes[kept], since[kept] = edges[index], sizes[index], since[index]
                kept += 1
        held = kept
        if row > 1:
            gap = low[row] - high[row - 2]
            if gap > 0.0 and gap >= smallest * scale[row]:
                edges[held], sizes[held], since[held] = high[row - 2], gap, row
                held += 1
        count[row] = held
        for index in range(held):
            if not edges[index] <= nearest[row]:
                nearest[row], age[row], extent[row] = edges[index], row - since[index], sizes[index]
    return nearest, age, extent, count
