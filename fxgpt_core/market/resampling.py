"""From faster bars to slower ones, on the grids of `calendar` (4h and slower from 17:00 New York)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]


def resample(candles: Candles, bar: str | Timeframe, known_until: np.datetime64 | None = None) -> Candles:
    """Return `candles` as bars of a slower timeframe.

    Open of the first bar, highest high, lowest low, close of the last, sum of volumes (NaN where none is known), mean
    of spreads. A slow bar exists where at least one fast bar does. The last bar is published only when it is over: its
    close must not lie after `known_until` (UTC), by default the close of the last fast bar; a bar still being built
    would say something else an hour later. Raises DataError when the target is not slower or a fast bar does not fit
    into one slow bar.
    """
    target = timeframe(bar)
    if target <= candles.timeframe:
        raise DataError(f"{candles.symbol} {candles.timeframe} cannot become {target}: choose a slower timeframe.")
    if not len(candles):
        return Candles(candles.symbol, target, candles.side, candles.ts_utc, *[np.empty(0)] * 6)
    opens = calendar.bar_open(candles.ts_utc, target)
    overhang = candles.known_at > opens + target.duration
    if overhang.any():
        raise DataError(
            f"{candles.symbol} {candles.timeframe} bar at {candles.ts_utc[overhang][0]}Z reaches over the end of its "
            f"{target} bar: its stamps are off the grid."
        )
    starts = np.flatnonzero(np.r_[True, opens[1:] != opens[:-1]])
    ends = np.r_[starts[1:], len(opens)] - 1
    slow = Candles(
        symbol=candles.symbol,
        timeframe=target,
        side=candles.side,
        ts_utc=opens[starts],
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends],
        volume=_sum(candles.volume, starts),
        spread=_sum(candles.spread, starts) / np.maximum(_count(candles.spread, starts), 1),
    )
    until = candles.known_at[-1] if known_until is None else np.datetime64(known_until, "ns")
    return slow.until(until)


def _count(values: Floats, starts: NDArray[np.int64]) -> Floats:
    return np.asarray(np.add.reduceat(np.isfinite(values).astype(np.float64), starts))


def _sum(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Return the sum of the known values of each group, NaN where none is known: (groups,)."""
    total = np.add.reduceat(np.nan_to_num(values), starts)
    return np.where(_count(values, starts) > 0, total, np.nan)
