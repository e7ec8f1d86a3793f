"""Base bars as the yardstick sees them, and recursive averages of their squared returns.

What is averaged is variance per average minute, the rhythm of day and week taken out. A series in parts gives the bits
of the whole, so that a process that lives on need not go over history at every bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.blocks import months
from fxgpt_core.features.rolling import EWMA_START, ewma_on
from fxgpt_core.features.seasonality import Shape, trading_position
from fxgpt_core.market.candles import Candles

_DAY = 1440

SURPRISE = 10.0
"""Deviations from which on a move teaches no more: a peg that breaks, or prices that come back after stale weeks, would
rule shape, level and scale for a year. On ordinary days it changes nothing, and news cost it nothing: without it the
forecasts of real pairs are a little worse."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class YardstickBars:
    """Base bars as the yardstick sees them, (bars,): closes in UTC and trading minutes, squared returns, days so far.

    `months` and `blocks`: each month of `known_at` that has bars, and its bars.
    """

    minutes: int
    known_at: NDArray[np.datetime64]
    position: Floats
    previous: Floats
    squares: Floats
    days: Floats
    months: NDArray[np.datetime64]
    blocks: tuple[slice, ...]

    @classmethod
    def of(cls, candles: Candles, first: int = 0) -> YardstickBars:
        """Return the bars of `candles`, the first of which is number `first` of history; its return is zero."""
        position, minutes = trading_position(candles.known_at), candles.timeframe.minutes
        previous = np.concatenate([position[:1], position[:-1]])
        log_return = np.concatenate([[0.0], np.diff(np.log(candles.close))])
        days = (first + np.arange(len(candles))) * minutes / _DAY
        names, blocks = zip(*months(candles), strict=True)
        squares = log_return * log_return
        return cls(minutes, candles.known_at, position, previous, squares, days, np.array(names), tuple(blocks))

    def variance_time(self, shapes: Sequence[Shape], start: Floats, stop: Floats) -> Floats:
        """Return the variance time between two positions of each bar, by the shape of the bar's month: (bars,)."""
        out = np.empty(len(start))
        for shape, rows in zip(shapes, self.blocks, strict=True):
            out[rows] = shape.clock(stop[rows]) - shape.clock(start[rows])
        return out


@dataclass(frozen=True)
class Averages:
    """What recursive averages remember after a bar: of what is usual, its last value, and of each level."""

    usual: Floats
    last: float
    levels: tuple[Floats, ...]


def average(
    bars: YardstickBars, shapes: Sequence[Shape], half_lives: Sequence[float], before: Averages | None
) -> tuple[Floats, Floats, Averages]:
    """Return squared deseasonalised returns (bars,), their averages (half-lives, bars), and what these remember.

    `half_lives` in minutes; the first is that of what is usual. The first bar is left out: it has no return, or has
    gone into `before`. A square counts as at most `SURPRISE` deviations of what was usual before; that comes from whole
    squares, so that it is as large as it was: a cap of what is capped would never rise again.
    """
    spent = bars.variance_time(shapes, bars.previous, bars.position)
    stands = bars.position <= bars.previous  # bars after the week's close, while the calendar's clock stands
    whole = bars.squares / np.where(stands, float(bars.minutes), np.maximum(spent, 1e-3 * bars.minutes))
    before = before or Averages(EWMA_START, np.nan, (EWMA_START,) * len(half_lives))
    usual, remembered = ewma_on(whole[1:], half_lives[0] / bars.minutes, before.usual)
    unit = np.asarray(np.fmin(whole, SURPRISE**2 * np.concatenate([[np.nan, before.last], usual[:-1]])))
    out, states = np.full((len(half_lives), len(unit)), np.nan), []
    for row, (half_life, state) in enumerate(zip(half_lives, before.levels, strict=True)):
        out[row, 1:], after = ewma_on(unit[1:], half_life / bars.minutes, state)
        states.append(after)
    return unit, out, Averages(remembered, float(usual[-1]), tuple(states))
