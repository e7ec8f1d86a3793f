"""Bounded oscillators of closes and ranges, by TA-Lib; all independent of the price level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean

STILL = 0.01
"""Points of an index of 0..100 that count as no movement of it."""


def strength(values: Floats, period: int) -> Floats:
    """Return Wilder's relative strength index of a series, 50 where nothing moved within memory: (n,) in 0..100."""
    import talib

    index = talib.RSI(values, timeperiod=period)
    highest, lowest = (extreme(values, timeperiod=period + 1) for extreme in (talib.MAX, talib.MIN))
    return np.where((highest == lowest) & (index < STILL), 50.0, index)


def without_range(bars: Bars, period: int) -> NDArray[np.bool_]:
    """Return where the highest high of the period is its lowest low: (bars,)."""
    import talib

    return np.asarray(talib.MAX(bars.high, timeperiod=period) == talib.MIN(bars.low, timeperiod=period))


@feature(
    "rsi",
    group="oscillators",
    source="Wilder 1978; TA-Lib RSI",
    warm_up=lambda p: p["period"],
    version=2,
    period=number(14, 2, 288),
)
def rsi(bars: Bars, period: int) -> Columns:
    """Relative strength index, 0..100: Wilder's mean of rises / that of all moves; 50 where nothing moved.

    Above a period of 30 what lies before 512 bars still counts, by more than 1e-7.
    """
    return {("rsi", period): strength(bars.close, period)}


@feature(
    "rsi_ladder",
    group="oscillators",
    source="Wilder 1978; TA-Lib RSI",
    warm_up=lambda p: max(p["fast"], p["slow"], p["period"] + p["lag"]),
    fast=number(4, 2, 28),
    slow=number(28, 2, 288),
    period=number(14, 2, 288),
    lag=number(5, 1, 100),
)
def rsi_ladder(bars: Bars, fast: int, slow: int, period: int, lag: int) -> Columns:
    """Relative strength index at a fast and a slow period, 0..100, and its change over `lag` bars at `period`."""
    index = strength(bars.close, period)
    return {
        ("rsi_fast", fast): strength(bars.close, fast),
        ("rsi_slow", slow): strength(bars.close, slow),
        ("rsi_change", period, lag): index - shifted(index, lag),
    }


@feature(
    "stochastic_rsi",
    group="oscillators",
    source="Chande & Kroll 1994; TA-Lib RSI, MIN, MAX",
    warm_up=lambda p: p["period"] + max(p["short"], p["long"]) - 1,
    period=number(14, 2, 288),
    short=number(14, 2, 200),
    long=number(60, 2, 200),
)
def stochastic_rsi(bars: Bars, period: int, short: int, long: int) -> Columns:
    """Where the RSI lies between its lowest (0) and highest (100) over `short` and `long` bars; 50 where it rests."""
    import talib

    index = strength(bars.close, period)
    out = {}
    for window in (short, long):
        highest, lowest = (extreme(index, timeperiod=window) for extreme in (talib.MAX, talib.MIN))
        rests = highest - lowest <= STILL
        place = 100.0 * (index - lowest) / np.where(rests, 1.0, highest - lowest)
        out[("stochrsi", period, window)] = np.where(rests, 50.0, place)
    return out


@feature(
    "connors_rsi",
    group="oscillators",
    source="Connors & Alvarez 2012; TA-Lib RSI, PERCENTRANK",
    warm_up=lambda p: max(p["period"], p["streak"], p["window"] + 1),
    period=number(3, 2, 28),
    streak=number(2, 2, 28),
    window=number(100, 10, 288),
)
def connors_rsi(bars: Bars, period: int, streak: int, window: int) -> Columns:
    """RSI of the length of the run of rising (+) or falling (-) closes, and its mean with two more, 0..100.

    `crsi`: mean of RSI of closes, that RSI of runs, and the percentile of the last return among the `window` before.
    """
    import talib

    from fxgpt_core.features.kernels.runs import signed_runs

    runs = strength(signed_runs(bars.close), streak)
    place = talib.PERCENTRANK(bars.log_return, timeperiod=window)
    return {
        ("streak_rsi", streak): runs,
        ("crsi", period, streak, window): (strength(bars.close, period) + runs + place) / 3.0,
    }


@feature(
    "stochastic",
    group="oscillators",
    source="Lane; TA-Lib STOCHF, averaged",
    warm_up=lambda p: p["fast"] + p["slow"] + p["signal"] - 3,
    version=2,
    fast=number(14, 2, 288),
    slow=number(3, 1, 288),
    signal=number(3, 1, 288),
)
def stochastic(bars: Bars, fast: int, slow: int, signal: int) -> Columns:
    """Slow stochastic %K and %D: place of the close in the range of `fast` bars, 0..100, averaged once and twice.

    The place is 50 where there is no range.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    place, _ = talib.STOCHF(*prices, fastk_period=fast, fastd_period=1)
    k = rolling_mean(np.where(without_range(bars, fast), 50.0, place), slow)
    return {("stoch_k", fast, slow): k, ("stoch_d", fast, slow, signal): rolling_mean(k, signal)}


@feature(
    "kdj",
    group="oscillators",
    source="KDJ of stochastics by Wilder's averages; TA-Lib KDJ",
    warm_up=lambda p: p["period"] + 2 * p["smooth"] - 3,
    period=number(9, 2, 288),
    smooth=number(3, 2, 28),
)
def kdj(bars: Bars, period: int, smooth: int) -> Columns:
    """3 K - 2 D of the stochastic of `period` bars, smoothed by Wilder's averages, about -30..130.

    A window without range counts as place 0.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    _, _, j = talib.KDJ(*prices, fastk_period=period, slowk_period=smooth, slowd_period=smooth)
    return {("kdj_j", period, smooth): j}


@feature(
    "cci",
    group="oscillators",
    source="Lambert 1980; TA-Lib CCI",
    warm_up=lambda p: max(p["period"], p["long"]) - 1,
    version=2,
    period=number(14, 2, 288),
    long=number(60, 2, 288),
)
def cci(bars: Bars, period: int, long: int) -> Columns:
    """Commodity channel index: distance of the typical price from its mean / (0.015 x mean distance), cut to +-500.

    0 where nothing moved.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    return {("cci", span): np.clip(talib.CCI(*prices, timeperiod=span), -500.0, 500.0) for span in (period, long)}


@feature(
    "williams_r",
    group="oscillators",
    source="Williams; TA-Lib WILLR",
    warm_up=lambda p: p["period"] - 1,
    version=2,
    period=number(14, 2, 288),
)
def williams_r(bars: Bars, period: int) -> Columns:
    """Williams %R: -100 x (highest - close) / (highest - lowest) over the period, -100..0; -50 without range."""
    import talib

    index = talib.WILLR(bars.high, bars.low, bars.close, timeperiod=period)
    return {("willr", period): np.where(without_range(bars, period), -50.0, index)}


@feature(
    "ultimate",
    group="oscillators",
    source="Williams 1985; TA-Lib ULTOSC",
    warm_up=lambda p: max(p["spans"]),
    spans=periods(7, 14, 28, high=288),
)
def ultimate(bars: Bars, spans: tuple[int, ...]) -> Columns:
    """Ultimate oscillator, 0..100: buying pressure / true range over three spans, weighted 4 : 2 : 1.

    Buying pressure is close - the lower of low and previous close. Fewer spans than three repeat the last; 0 where
    nothing moved.
    """
    import talib

    three = (*spans, spans[-1], spans[-1])[:3]
    prices = (bars.high, bars.low, bars.close)
    index = talib.ULTOSC(*prices, timeperiod1=three[0], timeperiod2=three[1], timeperiod3=three[2])
    return {("ultosc", *spans): index}


@feature(
    "aroon",
    group="oscillators",
    source="Chande 1995; TA-Lib AROON, AROONOSC",
    windowed=True,
    warm_up=lambda p: max(p["period"], p["long"]),
    period=number(25, 2, 288),
    long=number(100, 2, 288),
)
def aroon(bars: Bars, period: int, long: int) -> Columns:
    """100 x (period - bars since its highest high) / period, the same for the lowest low, and up - down at `long`.

    Of equal highs or lows the latest counts.
    """
    import talib

    down, up = talib.AROON(bars.high, bars.low, timeperiod=period)
    return {
        ("aroon_up", period): up,
        ("aroon_down", period): down,
        ("aroon_osc", long): talib.AROONOSC(bars.high, bars.low, timeperiod=long),
    }
