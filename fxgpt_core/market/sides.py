"""Bid and ask bars of one pair become mid bars with their spread (DESIGN, "Candles carry one price side")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.market.candles import Candles

OTHER_SIDE = {"bid": "ask", "ask": "bid"}
Floats = NDArray[np.float64]


def combine_sides(bid: Candles, ask: Candles) -> Candles:
    """Return mid bars where both sides have one: (bars that both have,).

    Each mid price is the mean of its two sides, so a mid high need not have traded at one instant. `spread` is the mean
    of ask minus bid over open, high, low and close: two bars that close on different ticks may cross at one of the
    four. A mean below zero is no spread and becomes NaN (unknown). `volume` is the bid's, the ask's where the bid has
    none. Raises DataError when the two are not bid and ask bars of one symbol and timeframe.
    """
    same = (bid.symbol, bid.timeframe) == (ask.symbol, ask.timeframe)
    if not same or (bid.side, ask.side) != ("bid", "ask"):
        raise DataError(
            f"{bid.symbol} {bid.timeframe} {bid.side} and {ask.symbol} {ask.timeframe} {ask.side} bars do not make "
            "mid bars: give bid and ask of one symbol and timeframe."
        )
    _, left, right = np.intersect1d(bid.ts_utc, ask.ts_utc, assume_unique=True, return_indices=True)
    bid, ask = bid.take(left), ask.take(right)
    spread = np.mean([getattr(ask, name) - getattr(bid, name) for name in ("open", "high", "low", "close")], axis=0)
    return Candles(
        symbol=bid.symbol,
        timeframe=bid.timeframe,
        side="mid",
        ts_utc=bid.ts_utc,
        open=_mean(bid.open, ask.open),
        high=_mean(bid.high, ask.high),
        low=_mean(bid.low, ask.low),
        close=_mean(bid.close, ask.close),
        volume=np.where(np.isnan(bid.volume), ask.volume, bid.volume),
        spread=np.where(spread >= 0, spread, np.nan),
    )


def _mean(left: Floats, right: Floats) -> Floats:
    return np.asarray((left + right) / 2)
