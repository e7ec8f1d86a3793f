"""How much a new position of a portfolio may be: compiled, so that this module is imported where it is used.

The limits are those of `fxgpt_core.backtest.limits.PortfolioLimits`; the records those of `layout`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fxgpt_core.backtest import layout

_MARGIN, _POSITIONS, _GROSS = layout.BY_MARGIN, layout.BY_POSITIONS, layout.BY_GROSS
_NET, _CURRENCY, _CORRELATION = layout.BY_NET, layout.BY_CURRENCY, layout.BY_CORRELATION
Records = NDArray[Any]

BUILT_ON = {"layout": "200aca1b"}
"""Hashes of what is compiled in: numba's cache watches this file alone, and would keep code of an older `layout`."""


@njit(cache=True)
def tightest(leg: int, direction: int, room: float, equity: float, exposed: Records, legs: Records, limits: Any,
             returns: Records, now: int) -> tuple[float, int, int]:  # fmt: skip
    """Return the notional value that a new position may have, the limit that decides, and what it concerns or -1.

    `room`: what margin leaves; `exposed`: (legs,) signed notional values of what is held or ordered; `returns`: (legs,
    times), of which the one at `now` is the last that is known.
    """
    gross, net, positions = 0.0, 0.0, 0
    for other in range(len(exposed)):
        gross += abs(exposed[other])
        net += exposed[other]
        positions += exposed[other] != 0
    if positions >= limits.positions:
        return 0.0, _POSITIONS, -1
    most, cause, what = room, _MARGIN, -1
    if limits.gross * equity - gross < most:
        most, cause = limits.gross * equity - gross, _GROSS
    if limits.net * equity - direction * net < most:
        most, cause = limits.net * equity - direction * net, _NET
    for side, currency in ((direction, legs[leg].base), (-direction, legs[leg].quote)):
        left = limits.currency * equity - side * held_of(currency, exposed, legs)
        if left < most:
            most, cause, what = left, _CURRENCY, currency
    together, nearest = moving_together(leg, direction, exposed, limits, returns, now)
    if together > 0 and limits.correlated * equity - together < most:
        most, cause, what = limits.correlated * equity - together, _CORRELATION, nearest
    return most, cause, what


@njit(cache=True)
def held_of(currency: int, exposed: Records, legs: Records) -> float:
    """Return what all positions hold of a currency, negative where it is owed: a long pair holds its base."""
    total = 0.0
    for leg in range(len(exposed)):
        if legs[leg].base == currency:
            total += exposed[leg]
        elif legs[leg].quote == currency:
            total -= exposed[leg]
    return total


@njit(cache=True)
def moving_together(leg: int, direction: int, exposed: Records, limits: Any, returns: Records,
                    now: int) -> tuple[float, int]:  # fmt: skip
    """Return the notional value of the positions that earn and lose with a new one, and the largest of them or -1."""
    total, largest, which = 0.0, 0.0, -1
    for other in range(len(exposed)):
        if exposed[other] == 0 or other == leg:
            continue
        known = correlation(returns[leg], returns[other], now, limits.window, limits.least)
        same = known * direction * (1.0 if exposed[other] > 0 else -1.0)
        if math.isnan(known) or same >= limits.correlation:
            total += abs(exposed[other])
            if abs(exposed[other]) > largest:
                largest, which = abs(exposed[other]), other
    return total, which


@njit(cache=True)
def correlation(one: Records, two: Records, now: int, window: int, least: int) -> float:
    """Return Pearson's correlation of the last `window` returns up to `now`, NaN below `least` common ones."""
    count, mean_one, mean_two = 0, 0.0, 0.0
    first = max(0, now - window + 1)
    for row in range(first, now + 1):
        if not (math.isnan(one[row]) or math.isnan(two[row])):
            count += 1
            mean_one += one[row]
            mean_two += two[row]
    if count < max(2, least):
        return np.nan
    mean_one, mean_two = mean_one / count, mean_two / count
    own_one = own_two = both = 0.0
    for row in range(first, now + 1):
        if not (math.isnan(one[row]) or math.isnan(two[row])):
            x, y = one[row] - mean_one, two[row] - mean_two
            own_one += x * x
            own_two += y * y
            both += x * y
    if not (own_one > 0 and own_two > 0):
        return np.nan
    return both / math.sqrt(own_one * own_two)
