"""`Pulse`: which bars moved, and for how long none has: a dead feed repeats its last price, or says nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Pulse:
    """`moved`: (bars,) datetime64[ns], when bars were known whose price differs from the one before, increasing."""

    moved: Times

    @classmethod
    def of(cls, candles: Candles) -> Pulse:
        """Return the pulse of candles; a bar is still where open, high, low and close are the close before."""
        before = np.concatenate([[np.nan], candles.close[:-1]])
        prices = np.column_stack([candles.open, candles.high, candles.low, candles.close])
        return cls(candles.known_at[(prices != before[:, None]).any(axis=1)])

    def last(self, now: np.datetime64) -> np.datetime64 | None:
        """Return when the last bar that moved was known at `now`; None where there is none."""
        place = int(np.searchsorted(self.moved, now, side="right")) - 1
        return None if place < 0 else np.datetime64(self.moved[place])

    def silence(self, now: np.datetime64) -> float | None:
        """Return the trading hours since the last bar that moved and was known at `now`; None where there is none."""
        last = self.last(now)
        return None if last is None else float(calendar.trading_minutes_between(last, now)) / 60

    def longest(self, start: np.datetime64, end: np.datetime64) -> float:
        """Return the longest silence (trading hours) between bars that moved in (start, end]."""
        first, last = np.searchsorted(self.moved, np.array([start, end], dtype="datetime64[ns]"), side="right")
        times = self.moved[first:last]
        if len(times) < 2:
            return 0.0
        return float(calendar.trading_minutes_between(times[:-1], times[1:]).max()) / 60
