"""When a position leaves before the weekend, and which entries come too late to be filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.market_hours import MarketHours

Times = NDArray[np.datetime64]
_MINUTE = np.timedelta64(60_000_000_000, "ns")
_GAP_MINUTES = 60
_GAP_BARS = 2


def before_weekend(known_at: Any, bar: Timeframe, config: BacktestConfig, hours: MarketHours) -> NDArray[np.bool_]:
    """Return whether a decision at each time is to be out of the market at the next open: (times,).

    True from the last close on that lies at least `weekend_lead_minutes` before the week stops trading by the market
    hours. The bar that opens at that close fills the order, however long it is, so the lead is the same for all bars;
    it is there for feeds that end their week some minutes earlier.
    `known_at`: datetime64[ns] in UTC. Only the calendar decides: no later bar is looked at.
    """
    lead = config.weekend_lead_minutes * _MINUTE
    known: Times = np.asarray(known_at, dtype="datetime64[ns]")
    following: Times = known + bar.duration
    latest: Times = hours.week_close(known) - lead
    return np.asarray(following > latest)


def too_late(candles: Candles, config: BacktestConfig, hours: MarketHours) -> NDArray[np.bool_]:
    """Return at which bars no entry is filled that was decided at the bar before: (bars,).

    They open more than `entry_gap_minutes` after that decision, or within the lead before the weekend.
    """
    bar, minutes = candles.timeframe, config.entry_gap_minutes
    gap = (max(_GAP_BARS * bar.minutes, _GAP_MINUTES) if minutes is None else minutes) * _MINUTE
    late = np.zeros(len(candles), dtype=bool)
    late[1:] = candles.ts_utc[1:] - candles.known_at[:-1] > gap
    if config.exit_before_weekend:
        late |= before_weekend(candles.ts_utc, bar, config, hours)
    return late
