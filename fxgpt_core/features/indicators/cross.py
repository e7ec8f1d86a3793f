"""Ratios and positions between a timeframe and the slower ones of its layout.

Of a slower timeframe only closed bars are seen, joined by what was known at the faster bar's close, and all windows
over them are plain ones, so that no value depends on where the slower bars begin.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats, SlowerBars
from fxgpt_core.features.moments import FLOOR, drift
from fxgpt_core.features.parameters import number
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum


def root_mean_square(bars: Bars, window: int) -> Floats:
    """Return the root mean square of log returns over `window` bars: (bars,)."""
    return np.asarray(np.sqrt(rolling_mean(bars.squared_return, window)))


def share_up(bars: Bars, period: int) -> Floats:
    """Return Cutler's RSI, 100 x rises / all moves of the log price over `period` bars, 50 where none: (bars,)."""
    moves = rolling_sum(np.abs(bars.log_return), period)
    still = moves <= period * FLOOR
    rises = rolling_sum(np.maximum(bars.log_return, 0.0), period)
    return np.where(still, np.where(np.isnan(moves), np.nan, 50.0), 100.0 * rises / np.where(still, 1.0, moves))


@feature(
    "cross_timeframe",
    group="cross",
    source="own; RSI by plain sums after Cutler",
    windowed=True,
    warm_up=lambda p: 0,
    reads=("slower",),
    window=number(20, 2, 200),
    period=number(14, 2, 200),
)
def cross_timeframe(bars: Bars, window: int, period: int) -> Columns:
    """Against the last known bar of each slower timeframe; `cross_rsi` over `period`, the others over `window` bars.

    `cross_dist`: log(close / slower close) / root mean square of slower log returns, cut to +-10; `cross_pos`: (close -
    slower low) / (slower high - slower low), cut to -1..2, 0.5 where they are no range; `cross_vol`: log of (own root
    mean square x root of bars per slower bar / that of the slower timeframe); `cross_mom`: sum of log returns / root of
    their sum of squares, slower - own; `cross_agree`: p / (1 + |p|) of the product p of both; `cross_rsi`: 100 x rises
    / all moves, slower - own. Nothing without a slower timeframe; NaN until it has `window` + 1 bars.
    """
    own = (root_mean_square(bars, window), drift(bars.log_return, window), share_up(bars, period))
    out: dict[tuple[str | int, ...], Floats] = {}
    for slower in bars.slower:
        code = slower.bars.timeframe.code
        for name, values in _beside(bars, slower, own, window, period).items():
            out[name, code, period if name == "cross_rsi" else window] = values
    return out


def _beside(
    bars: Bars, slower: SlowerBars, own: tuple[Floats, Floats, Floats], window: int, period: int
) -> dict[str, Floats]:
    """Return the columns of one slower timeframe by stem, (bars,) each."""
    beside, (volatility, trend, rises) = slower.bars, own
    slow_volatility, slow_trend = (
        slower.at(root_mean_square(beside, window)),
        slower.at(drift(beside.log_return, window)),
    )
    away = np.log(bars.close / slower.at(beside.close))
    still = slow_volatility <= FLOOR
    distance = np.where(still, 0.0, away / np.where(still, 1.0, slow_volatility))
    low, high = slower.at(beside.low), slower.at(beside.high)
    closed = high - low <= FLOOR * bars.close
    place = np.where(closed, 0.5, (bars.close - low) / np.where(closed, 1.0, high - low))
    steps = np.sqrt(beside.timeframe.minutes / bars.timeframe.minutes)
    both = trend * slow_trend
    return {
        "cross_dist": np.clip(distance, -10.0, 10.0),
        "cross_pos": np.clip(place, -1.0, 2.0),
        "cross_vol": np.log(np.maximum(volatility, FLOOR) * steps / np.maximum(slow_volatility, FLOOR)),
        "cross_mom": slow_trend - trend,
        "cross_agree": both / (1.0 + np.abs(both)),
        "cross_rsi": slower.at(share_up(beside, period)) - rises,
    }
