"""Bounded oscillators, by TA-Lib; all independent of the price level."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.parameters import number
from fxgpt_core.features.registry import Columns, feature


@feature(
    "rsi",
    group="oscillators",
    source="Wilder 1978; TA-Lib RSI",
    warm_up=lambda p: p["period"],
    period=number(14, 1, 2000),
)
def rsi(bars: Bars, period: int) -> Columns:
    """Relative strength index, 0..100."""
    import talib

    return {("rsi", period): talib.RSI(bars.close, timeperiod=period)}


@feature(
    "stochastic",
    group="oscillators",
    source="Lane; TA-Lib STOCH with simple averages",
    warm_up=lambda p: p["fast"] + p["slow"] + p["signal"] - 3,
    fast=number(14, 1, 2000),
    slow=number(3, 1, 2000),
    signal=number(3, 1, 2000),
)
def stochastic(bars: Bars, fast: int, slow: int, signal: int) -> Columns:
    """Slow stochastic %K and %D, 0..100."""
    import talib

    prices = (bars.high, bars.low, bars.close)
    k, d = talib.STOCH(*prices, fastk_period=fast, slowk_period=slow, slowd_period=signal)
    return {("stoch_k", fast, slow): k, ("stoch_d", fast, slow, signal): d}


@feature(
    "cci",
    group="oscillators",
    source="Lambert 1980; TA-Lib CCI",
    warm_up=lambda p: p["period"] - 1,
    period=number(20, 1, 2000),
)
def cci(bars: Bars, period: int) -> Columns:
    """Commodity channel index, cut to +-500: it divides by a mean deviation that can be nearly nothing."""
    import talib

    return {("cci", period): np.clip(talib.CCI(bars.high, bars.low, bars.close, timeperiod=period), -500.0, 500.0)}


@feature(
    "williams_r",
    group="oscillators",
    source="Williams; TA-Lib WILLR",
    warm_up=lambda p: p["period"] - 1,
    period=number(14, 1, 2000),
)
def williams_r(bars: Bars, period: int) -> Columns:
    """Williams %R, -100..0."""
    import talib

    return {("willr", period): talib.WILLR(bars.high, bars.low, bars.close, timeperiod=period)}
