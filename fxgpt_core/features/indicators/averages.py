"""Moving averages: where the price lies from them, how they slope and how they are ordered, in mean true ranges.

The unit is a plain mean of true ranges over `unit` bars; what is told in it is cut to +-20 and 0 where nothing moved.
Exponential averages are offered up to the period of which nothing measurable is left after 512 bars.
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.moments import shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, Values, feature
from fxgpt_core.features.rolling import rolling_mean


@feature(
    "sma",
    group="trend",
    source="simple moving average; own rolling sums",
    windowed=True,
    warm_up=lambda p: max(max(p["windows"]) + p["lag"] - 1, p["unit"]),
    windows=periods(90, 240, high=260),
    lag=number(10, 1, 28),
    unit=number(24, 2, 200),
)
def sma(bars: Bars, windows: tuple[int, ...], lag: int, unit: int) -> Columns:
    """(Close - mean of the window's closes) / (mean true range x root of the window), and the longest mean's slope.

    The slope is its change per bar over `lag` bars, in mean true ranges.
    """
    scale = mean_true_range(bars, unit)
    out: dict[tuple[str | int, ...], Floats] = {}
    for window in windows:
        mean = rolling_mean(bars.close, window)
        out[("sma_dist", window)] = in_ranges(bars.close - mean, scale * window**0.5, bars.close)
        if window == max(windows):
            out[("sma_slope", window, lag)] = in_ranges((mean - shifted(mean, lag)) / lag, scale, bars.close)
    return out


@feature(
    "ema",
    group="trend",
    source="exponential moving average; TA-Lib EMA",
    warm_up=lambda p: max(max(p["spans"]) + p["lag"] - 1, p["unit"]),
    spans=periods(5, 34, high=62),
    lag=number(3, 1, 28),
    unit=number(24, 2, 200),
)
def ema(bars: Bars, spans: tuple[int, ...], lag: int, unit: int) -> Columns:
    """Change per bar of exponential averages over `lag` bars, and close - the shortest of them, in mean true ranges."""
    import talib

    scale = mean_true_range(bars, unit)
    out: dict[tuple[str | int, ...], Floats] = {}
    for span in spans:
        mean = talib.EMA(bars.close, timeperiod=span)
        if span == min(spans):
            out[("ema_dist", span)] = in_ranges(bars.close - mean, scale, bars.close)
        out[("ema_slope", span, lag)] = in_ranges((mean - shifted(mean, lag)) / lag, scale, bars.close)
    return out


@feature(
    "adaptive_averages",
    group="trend",
    source="Kaufman 1995; Mulloy 1994; Tillson 1998; Hull 2005; TA-Lib KAMA, DEMA, T3, HMA",
    warm_up=lambda p: max(_slowest_change(p) + p["lag"], 2 * (p["dema"] - 1), p["unit"]),
    kama=number(10, 2, 20),
    dema=number(40, 2, 55),
    t3=number(10, 2, 28),
    hull=number(60, 4, 200),
    lag=number(3, 1, 28),
    unit=number(24, 2, 200),
)
def adaptive_averages(bars: Bars, kama: int, dema: int, t3: int, hull: int, lag: int, unit: int) -> Columns:
    """Close - Kaufman's, double exponential, T3 and Hull average in mean true ranges; change per bar of three of them.

    Changes are over `lag` bars. Kaufman's average stands almost still while the market goes to and fro; its period is
    short, so that 512 bars suffice to forget its start.
    """
    import talib

    scale, close = mean_true_range(bars, unit), bars.close
    averages = {
        ("kama", kama): talib.KAMA(close, timeperiod=kama),
        ("dema", dema): talib.DEMA(bars.close, timeperiod=dema),
        ("t3", t3): talib.T3(bars.close, timeperiod=t3),
        ("hma", hull): talib.HMA(close, timeperiod=hull),
    }
    out: dict[tuple[str | int, ...], Floats] = {}
    for (name, period), average in averages.items():
        out[(f"{name}_dist", period)] = in_ranges(bars.close - average, scale, bars.close)
        if name != "dema":
            change = (average - shifted(average, lag)) / lag
            out[(f"{name}_slope", period, lag)] = in_ranges(change, scale, bars.close)
    return out


def _slowest_change(p: Values) -> int:
    """Return the bars that the longest of the averages needs whose change is published."""
    return int(max(p["kama"], 6 * (p["t3"] - 1), p["hull"] + math.isqrt(p["hull"]) - 2))


@feature(
    "average_order",
    group="trend",
    source="Guppy 2004, multiple moving averages; TA-Lib EMA",
    warm_up=lambda p: max(max(p["spans"]) - 1, p["unit"]),
    spans=periods(8, 21, 55, high=62),
    unit=number(24, 2, 200),
)
def average_order(bars: Bars, spans: tuple[int, ...], unit: int) -> Columns:
    """Order of close and exponential averages, fastest first: share of pairs in falling less rising order, -1..1.

    `ma_fan`: highest less lowest of the averages, in mean true ranges: how far they have fanned out.
    """
    import talib

    averages = [talib.EMA(bars.close, timeperiod=span) for span in sorted(spans)]
    lines = [bars.close, *averages]
    pairs = [(a, b) for index, a in enumerate(lines) for b in lines[index + 1 :]]
    order = sum(np.sign(np.where(np.abs(a - b) <= 1e-9 * b, 0.0, a - b)) for a, b in pairs) / len(pairs)
    spread = np.max(averages, axis=0) - np.min(averages, axis=0)
    scale = mean_true_range(bars, unit)
    known = np.where(np.isnan(scale), np.nan, 0.0)
    return {
        ("ma_order", *spans): np.asarray(order) + known,
        ("ma_fan", *spans): in_ranges(spread, scale, bars.close),
    }


@feature(
    "elder_ray",
    group="trend",
    source="Elder 1989; TA-Lib ERI",
    warm_up=lambda p: max(p["period"] - 1, p["unit"]),
    period=number(13, 2, 62),
    unit=number(24, 2, 200),
)
def elder_ray(bars: Bars, period: int, unit: int) -> Columns:
    """High - exponential average of closes (bull power) and low - that average (bear power), in mean true ranges."""
    import talib

    scale = mean_true_range(bars, unit)
    bull, bear = talib.ERI(bars.high, bars.low, bars.close, timeperiod=period)
    return {
        ("bull_power", period): in_ranges(bull, scale, bars.close),
        ("bear_power", period): in_ranges(bear, scale, bars.close),
    }
