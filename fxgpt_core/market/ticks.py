"""Quotes become bars: mid prices, tick counts and mean spreads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]


def bars_from_ticks(
    times: NDArray[np.datetime64],
    bid: Floats,
    ask: Floats,
    symbol: str,
    bar: Timeframe,
    known_until: np.datetime64 | None = None,
) -> Candles:
    """Return mid bars of quotes.

    `times`: (ticks,) datetime64[ns], UTC, ascending (equal stamps keep their order); `bid`, `ask`: (ticks,) prices.
    `volume` counts the quotes of a bar, `spread` is the mean of ask minus bid, NaN where that is negative. A bar exists
    where at least one quote does; with `known_until` (UTC) bars that close after it are left out, as still running.
    Raises DataError when the arrays differ in length, the times are not ascending or a price is not positive.
    """
    if not len(times) == len(bid) == len(ask):
        raise DataError(f"{symbol}: {len(times)} tick times, {len(bid)} bids and {len(ask)} asks do not match.")
    if len(times) > 1 and (np.diff(times) < np.timedelta64(0, "ns")).any():
        raise DataError(f"{symbol}: ticks are not in order of time; sort them first.")
    if not ((bid > 0) & (ask > 0) & np.isfinite(bid) & np.isfinite(ask)).all():
        raise DataError(f"{symbol}: a bid or ask is missing, zero or negative; set such ticks aside first.")
    stamps = times.astype("datetime64[ns]")
    if not len(stamps):
        return Candles(symbol, bar, "mid", stamps, *[np.empty(0)] * 6)
    opens = calendar.bar_open(stamps, bar)
    starts = np.flatnonzero(np.r_[True, opens[1:] != opens[:-1]])
    ends = np.r_[starts[1:], len(opens)]
    mid, counts = (bid + ask) / 2, (ends - starts).astype(np.float64)
    spread = np.add.reduceat(ask - bid, starts) / counts
    bars = Candles(
        symbol=symbol,
        timeframe=bar,
        side="mid",
        ts_utc=opens[starts],
        open=mid[starts],
        high=np.maximum.reduceat(mid, starts),
        low=np.minimum.reduceat(mid, starts),
        close=mid[ends - 1],
        volume=counts,
        spread=np.where(spread >= 0, spread, np.nan),
    )
    return bars if known_until is None else bars.until(known_until)
