"""Oscillators of momentum: sums of moves, smoothed or bounded, by TA-Lib; all independent of the price level.

What is a difference of prices is told in mean true ranges, a plain mean over `unit` bars, cut to +-20.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.moments import shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean


@feature(
    "rate_of_change",
    group="oscillators",
    source="price momentum in units of volatility; TA-Lib MOM",
    windowed=True,
    warm_up=lambda p: max(*p["lags"], p["unit"]),
    lags=periods(2, 12, 60, low=1, high=288),
    unit=number(24, 2, 200),
)
def rate_of_change(bars: Bars, lags: tuple[int, ...], unit: int) -> Columns:
    """(Close - close of `lag` bars ago) / (mean true range x root of the lag), cut to +-20; 0 where nothing moved."""
    import talib

    scale = mean_true_range(bars, unit)
    out = {}
    for lag in lags:
        move = talib.MOM(bars.close, timeperiod=lag) / lag**0.5
        out[("roc", lag)] = in_ranges(move, scale, bars.close)
    return out


@feature(
    "trix",
    group="oscillators",
    source="Hutson 1983; TA-Lib TRIX",
    warm_up=lambda p: max(3 * p["period"] + p["signal"] - 3, p["unit"]),
    period=number(12, 2, 40),
    signal=number(9, 2, 60),
    unit=number(24, 2, 200),
)
def trix(bars: Bars, period: int, signal: int, unit: int) -> Columns:
    """One-bar change of the close's triple exponential average, in mean true ranges, and less its own average.

    `trix_hist`: `trix` less its mean over the last `signal` bars, both before cutting to +-20.
    """
    import talib

    scale = mean_true_range(bars, unit)
    change = talib.TRIX(bars.close, timeperiod=period) / 100.0 * bars.close
    return {
        ("trix", period): in_ranges(change, scale, bars.close),
        ("trix_hist", period, signal): in_ranges(change - rolling_mean(change, signal), scale, bars.close),
    }


@feature(
    "awesome",
    group="oscillators",
    source="Williams 1998; TA-Lib AO, AC",
    warm_up=lambda p: max(max(p["fast"], p["slow"]) + p["signal"] - 2, p["unit"]),
    fast=number(5, 2, 288),
    slow=number(34, 3, 288),
    signal=number(5, 2, 288),
    unit=number(24, 2, 200),
)
def awesome(bars: Bars, fast: int, slow: int, signal: int, unit: int) -> Columns:
    """Fast less slow mean of bar middles, and that less its own mean over `signal` bars, in mean true ranges."""
    import talib

    scale, prices = mean_true_range(bars, unit), (bars.high, bars.low)
    line = talib.AO(*prices, fastperiod=fast, slowperiod=slow)
    faster = talib.AC(*prices, fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return {
        ("ao", fast, slow): in_ranges(line, scale, bars.close),
        ("ac", fast, slow, signal): in_ranges(faster, scale, bars.close),
    }


@feature(
    "true_strength",
    group="oscillators",
    source="Blau 1991; TA-Lib TSI",
    warm_up=lambda p: p["slow"] + p["fast"] + p["signal"] - 2,
    slow=number(40, 2, 60),
    fast=number(20, 2, 60),
    signal=number(10, 2, 100),
)
def true_strength(bars: Bars, slow: int, fast: int, signal: int) -> Columns:
    """True strength index: 100 x twice smoothed moves / twice smoothed absolute moves, -100..100; and less its mean.

    0 where nothing ever moved. `tsi_hist`: `tsi` less its mean over the last `signal` bars.
    """
    import talib

    index = talib.TSI(bars.close, firstperiod=slow, secondperiod=fast)
    return {("tsi", slow, fast): index, ("tsi_hist", slow, fast, signal): index - rolling_mean(index, signal)}


@feature(
    "stochastic_momentum",
    group="oscillators",
    source="Blau 1993; TA-Lib SMI",
    warm_up=lambda p: p["period"] + p["slow"] + p["fast"] - 2,
    period=number(40, 2, 200),
    fast=number(3, 2, 60),
    slow=number(3, 2, 60),
)
def stochastic_momentum(bars: Bars, period: int, fast: int, slow: int) -> Columns:
    """Stochastic momentum index: twice smoothed distance from the middle of the range / half of it, -100..100."""
    import talib

    prices = (bars.high, bars.low, bars.close)
    index, _ = talib.SMI(*prices, timeperiod=period, fastperiod=fast, slowperiod=slow, signalperiod=2)
    return {("smi", period, fast, slow): index}


@feature(
    "chande",
    group="oscillators",
    source="Chande & Kroll 1994; TA-Lib CMOU",
    warm_up=lambda p: max(p["windows"]),
    windows=periods(8, 40, high=288),
)
def chande(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Chande momentum oscillator: 100 x (rises - falls) / (rises + falls) over the window, -100..100; 0 where still."""
    import talib

    close = bars.close
    return {("cmo", window): talib.CMOU(close, timeperiod=window) for window in windows}


@feature(
    "intraday_momentum",
    group="oscillators",
    source="Chande & Kroll 1994; TA-Lib IMI",
    warm_up=lambda p: p["window"] - 1,
    window=number(80, 2, 288),
)
def intraday_momentum(bars: Bars, window: int) -> Columns:
    """Intraday momentum index: 100 x rising bodies / all bodies over the window, 0..100; 50 where there are none."""
    import talib

    bodies = rolling_mean(np.abs(bars.close - bars.open), window)
    index = talib.IMI(bars.open, bars.close, timeperiod=window)
    return {("imi", window): np.where(bodies <= 0.0, 50.0, index)}


@feature(
    "balance_of_power",
    group="oscillators",
    source="Livshin 2001; TA-Lib BOP, averaged",
    warm_up=lambda p: p["window"] - 1,
    window=number(14, 2, 288),
)
def balance_of_power(bars: Bars, window: int) -> Columns:
    """Mean of (close - open) / (high - low) over the window, -1..1; a bar without range counts 0."""
    import talib

    return {("bop", window): rolling_mean(talib.BOP(bars.open, bars.high, bars.low, bars.close), window)}


@feature(
    "fisher",
    group="oscillators",
    source="Ehlers 2002, without feeding the cut back",
    warm_up=lambda p: p["period"],
    period=number(10, 2, 200),
)
def fisher(bars: Bars, period: int) -> Columns:
    """Fisher transform of the middle of the bar within the range of middles of the period, and its change by one bar.

    x = 0.66 (place - 0.5) + 0.67 x before, cut to +-0.999; fisher = 0.5 ln((1 + x) / (1 - x)) + 0.5 fisher before.
    The place is 0.5 where the middles rest.
    """
    import talib
    from scipy.signal import lfilter

    middle = 0.5 * (bars.high + bars.low)
    highest, lowest = (extreme(middle, timeperiod=period) for extreme in (talib.MAX, talib.MIN))
    rests = highest - lowest <= 1e-8 * middle
    place = np.where(rests, 0.0, (middle - lowest) / np.where(rests, 1.0, highest - lowest) - 0.5)
    out = np.full(len(bars), np.nan)
    start = period - 1
    if len(bars) > start:
        x = np.clip(lfilter([0.66], [1.0, -0.67], place[start:]), -0.999, 0.999)
        out[start:] = lfilter([1.0], [1.0, -0.5], np.arctanh(x))
    return {("fisher", period): out, ("fisher_change", period): out - shifted(out, 1)}


@feature(
    "relative_volatility",
    group="oscillators",
    source="Dorsey 1993; TA-Lib RVI",
    warm_up=lambda p: p["period"] + p["window"] - 2,
    period=number(14, 2, 28),
    window=number(10, 2, 288),
)
def relative_volatility(bars: Bars, period: int, window: int) -> Columns:
    """Relative volatility index, 0..100: as the RSI, but of standard deviations over `window` bars, by side."""
    import talib

    index = talib.RVI(bars.close, timeperiod=period, stddevperiod=window)
    return {("rvi", period, window): index}


@feature(
    "mass",
    group="oscillators",
    source="Dorsey 1992; TA-Lib MASSI",
    warm_up=lambda p: 2 * p["fast"] + p["slow"] - 3,
    fast=number(9, 2, 28),
    slow=number(25, 2, 200),
)
def mass(bars: Bars, fast: int, slow: int) -> Columns:
    """Mass index / `slow` - 1: mean over `slow` bars of the range's exponential average / that average's own average.

    0 where nothing moved.
    """
    import talib

    total = talib.MASSI(bars.high, bars.low, fastperiod=fast, slowperiod=slow)
    return {("mass", fast, slow): total / slow - 1.0}
