"""Trend indicators, by TA-Lib, relative to the price."""

from __future__ import annotations

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.parameters import number
from fxgpt_core.features.registry import Columns, feature


@feature(
    "macd",
    group="trend",
    source="Appel; TA-Lib MACD",
    warm_up=lambda p: p["slow"] + p["signal"] - 2,
    fast=number(12, 1, 2000),
    slow=number(26, 1, 2000),
    signal=number(9, 1, 2000),
)
def macd(bars: Bars, fast: int, slow: int, signal: int) -> Columns:
    """Difference of two exponential averages, its own average and their difference, relative to the close."""
    import talib

    line, average, histogram = talib.MACD(bars.close, fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return {
        ("macd", fast, slow): line / bars.close,
        ("macd_signal", fast, slow, signal): average / bars.close,
        ("macd_hist", fast, slow, signal): histogram / bars.close,
    }


@feature(
    "adx",
    group="trend",
    source="Wilder 1978; TA-Lib ADX",
    warm_up=lambda p: 2 * p["period"] - 1,
    period=number(14, 1, 2000),
)
def adx(bars: Bars, period: int) -> Columns:
    """Average directional index and both directional indicators, 0..100."""
    import talib

    prices = (bars.high, bars.low, bars.close)
    return {
        ("adx", period): talib.ADX(*prices, timeperiod=period),
        ("di_plus", period): talib.PLUS_DI(*prices, timeperiod=period),
        ("di_minus", period): talib.MINUS_DI(*prices, timeperiod=period),
    }
