"""Strength and direction of trends, by TA-Lib where it has them; relative to the price or to mean true ranges.

The unit of distances is a plain mean of true ranges over `unit` bars; they are cut to +-20 and 0 where nothing moved.
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.moments import FLOOR, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_std, rolling_sum


@feature(
    "macd",
    group="trend",
    source="Appel; TA-Lib MACD",
    warm_up=lambda p: max(p["fast"], p["slow"]) + p["signal"] - 2,
    fast=number(12, 2, 60),
    slow=number(26, 2, 62),
    signal=number(9, 1, 60),
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
    source="Wilder 1978; TA-Lib ADX, DX, PLUS_DI, MINUS_DI",
    warm_up=lambda p: 2 * p["period"] - 1 + p["lag"],
    version=2,
    period=number(14, 2, 28),
    lag=number(10, 1, 100),
)
def adx(bars: Bars, period: int, lag: int) -> Columns:
    """Average directional index and both directional indicators, 0..100; DX = 100 x |DI+ - DI-| / (DI+ + DI-).

    `adx_change`: change of the average over `lag` bars. All are 0 where nothing ever moved.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    average = talib.ADX(*prices, timeperiod=period)
    return {
        ("adx", period): average,
        ("di_plus", period): talib.PLUS_DI(*prices, timeperiod=period),
        ("di_minus", period): talib.MINUS_DI(*prices, timeperiod=period),
        ("dx", period): talib.DX(*prices, timeperiod=period),
        ("adx_change", period, lag): average - shifted(average, lag),
    }


@feature(
    "vortex",
    group="trend",
    source="Botes & Siepman 2010; TA-Lib VORTEX",
    warm_up=lambda p: max(p["windows"]),
    windows=periods(14, 50, high=288),
)
def vortex(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """VI+ - VI-: sums of |high - previous low| less |low - previous high| / sum of true ranges; 0 where still.

    `vortex_sum`: VI+ + VI- at the shortest window: how far bars reach over one another.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    out = {}
    for window in windows:
        up, down = talib.VORTEX(*prices, timeperiod=window)
        out[("vortex", window)] = up - down
        if window == min(windows):
            out[("vortex_sum", window)] = up + down
    return out


@feature(
    "regression",
    group="trend",
    source="least squares line of closes on time; TA-Lib LINEARREG, LINEARREG_SLOPE",
    warm_up=lambda p: max(max(p["windows"]) - 1, p["unit"]),
    windows=periods(20, 60, 200, low=3, high=288),
    unit=number(24, 2, 200),
)
def regression(bars: Bars, windows: tuple[int, ...], unit: int) -> Columns:
    """Angle of the regression line, degrees per mean true range and bar; its R², 0..1; close - its end in true ranges.

    The angle is arctan(10 x slope / mean true range) in degrees, -90..90, so that ordinary slopes spread over it; the
    distance is in mean true ranges. R² is 0 where the closes do not vary.
    """
    import talib

    scale = mean_true_range(bars, unit)
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        slope = talib.LINEARREG_SLOPE(bars.close, timeperiod=window)
        end = talib.LINEARREG(bars.close, timeperiod=window)
        deviation = rolling_std(bars.close, window)
        still = deviation <= FLOOR * bars.close
        of_time = math.sqrt((window**2 - 1) / 12.0)
        part = np.where(still, 0.0, slope * of_time / np.where(still, 1.0, deviation))
        per_bar = in_ranges(slope, scale, bars.close)
        out[("reg_angle", window)] = np.degrees(np.arctan(10.0 * per_bar))
        out[("reg_r2", window)] = np.minimum(part * part, 1.0)
        out[("reg_dist", window)] = in_ranges(bars.close - end, scale, bars.close)
    return out


@feature(
    "parabolic",
    group="trend",
    source="Wilder 1978; TA-Lib SAR",
    warm_up=lambda p: max(p["unit"], 1),
    step=number(0.02, 0.001, 0.2),
    most=number(0.2, 0.01, 0.5),
    reach=number(48, 4, 200),
    unit=number(24, 2, 200),
)
def parabolic(bars: Bars, step: float, most: float, reach: int, unit: int) -> Columns:
    """Close - parabolic stop, in mean true ranges: positive while long; and bars since it last turned / reach, 0..1."""
    import talib

    from fxgpt_core.features.kernels.runs import bars_since_change

    stop = talib.SAR(bars.high, bars.low, acceleration=step, maximum=most)
    side = np.where(np.isnan(stop), np.nan, np.where(stop <= bars.low, 1.0, -1.0))
    scale = mean_true_range(bars, unit)
    return {
        ("sar_dist", step, most): in_ranges(bars.close - stop, scale, bars.close),
        ("sar_age", step, most): bars_since_change(side, reach) / reach,
    }


@feature(
    "supertrend",
    group="trend",
    source="Seban; TA-Lib SUPERTREND",
    warm_up=lambda p: max(p["period"], p["unit"]),
    period=number(10, 2, 28),
    width=number(3.0, 0.5, 5.0),
    reach=number(96, 4, 288),
    unit=number(24, 2, 200),
)
def supertrend(bars: Bars, period: int, width: float, reach: int, unit: int) -> Columns:
    """Side of the SuperTrend line (+1 above, -1 below), close - line in mean true ranges, bars since it turned / reach.

    The line is the middle of the bar -+ `width` average true ranges (Wilder's), held until the close crosses it.
    """
    import talib

    from fxgpt_core.features.kernels.runs import bars_since_change

    line, side = talib.SUPERTREND(bars.high, bars.low, bars.close, timeperiod=period, multiplier=width)
    known = np.where(np.isnan(line), np.nan, side.astype(np.float64))
    return {
        ("supertrend", period, width): known,
        ("supertrend_dist", period, width): in_ranges(bars.close - line, mean_true_range(bars, unit), bars.close),
        ("supertrend_age", period, width): bars_since_change(known, reach) / reach,
    }


@feature(
    "ichimoku",
    group="trend",
    source="Hosoda 1969, without the lines drawn backwards; TA-Lib MIDPRICE",
    windowed=True,
    warm_up=lambda p: max(max(p["fast"], p["middle"], p["slow"]) - 1 + p["middle"], p["unit"]),
    fast=number(9, 2, 100),
    middle=number(26, 2, 100),
    slow=number(52, 2, 180),
    unit=number(24, 2, 200),
)
def ichimoku(bars: Bars, fast: int, middle: int, slow: int, unit: int) -> Columns:
    """Ichimoku distances in mean true ranges, of what is known at the bar; the cloud is that of `middle` bars before.

    `ichi_tk`: conversion - base line (middles of the ranges of `fast` and `middle` bars); `ichi_cloud`: close - nearer
    edge of the cloud over the bar, 0 within; `ichi_width`: upper - lower edge of that cloud, signed as its first line -
    second; `ichi_ahead`: first - second line of the cloud made now. The first line is the mean of conversion and base
    line, the second the middle of the range of `slow` bars.
    """
    import talib

    scale = mean_true_range(bars, unit)
    conversion, base, wide = (talib.MIDPRICE(bars.high, bars.low, timeperiod=span) for span in (fast, middle, slow))
    ahead = 0.5 * (conversion + base)
    first, second = shifted(ahead, middle), shifted(wide, middle)
    above = np.maximum(bars.close - np.maximum(first, second), 0.0)
    below = np.minimum(bars.close - np.minimum(first, second), 0.0)
    columns = {
        "ichi_tk": conversion - base,
        "ichi_cloud": above + below,
        "ichi_width": first - second,
        "ichi_ahead": ahead - wide,
    }
    return {(name, fast, middle, slow): in_ranges(line, scale, bars.close) for name, line in columns.items()}


@feature(
    "choppiness",
    group="trend",
    source="Dreiss 1993; White 1991 (vertical horizontal filter): TA-Lib VHF, MAX, MIN",
    warm_up=lambda p: max(p["window"], p["filter"]),
    window=number(14, 2, 288),
    filter=number(48, 2, 288),
)
def choppiness(bars: Bars, window: int, filter: int) -> Columns:
    """100 x log(sum of true ranges / range of the window) / log(window): 100 where all bars lie over one another.

    100 where nothing moved. `vhf`: (highest - lowest close) / sum of absolute changes over `filter` bars, 0..1.
    """
    import talib

    before = shifted(bars.close, 1)
    true = np.maximum(bars.high, before) - np.minimum(bars.low, before)
    span = talib.MAX(bars.high, timeperiod=window) - talib.MIN(bars.low, timeperiod=window)
    still = span <= FLOOR * bars.close
    ratio = np.where(still, window, rolling_sum(true, window) / np.where(still, 1.0, span))
    return {
        ("chop", window): np.clip(100.0 * np.log(ratio) / math.log(window), 0.0, 100.0),
        ("vhf", filter): talib.VHF(bars.close, timeperiod=filter),
    }


@feature(
    "hilbert",
    group="trend",
    source="Ehlers 2001; TA-Lib HT_DCPERIOD, HT_SINE, HT_PHASOR, HT_TRENDLINE, HT_TRENDMODE",
    warm_up=lambda p: max(63, p["unit"]),
    unit=number(24, 2, 200),
)
def hilbert(bars: Bars, unit: int) -> Columns:
    """Dominant cycle by the Hilbert transform: its length in bars, sine and leading sine (by 45 degrees) of its phase.

    `ht_mode`: 1 in a trend, 0 in a cycle; `ht_dist`: close - instantaneous trend line, `ht_inphase` and
    `ht_quadrature`: the phasor's components, in mean true ranges. 512 bars are enough to forget where it started.
    """
    import talib

    scale, close = mean_true_range(bars, unit), bars.close
    sine, leading = talib.HT_SINE(close)
    inphase, quadrature = talib.HT_PHASOR(close)
    mode = np.asarray(talib.HT_TRENDMODE(close), dtype=np.float64)
    return {
        ("ht_period",): talib.HT_DCPERIOD(close),
        ("ht_sine",): sine,
        ("ht_lead",): leading,
        ("ht_mode",): np.where(np.isnan(sine), np.nan, mode),
        ("ht_dist",): in_ranges(close - talib.HT_TRENDLINE(close), scale, close),
        ("ht_inphase",): in_ranges(inphase, scale, close),
        ("ht_quadrature",): in_ranges(quadrature, scale, close),
    }
