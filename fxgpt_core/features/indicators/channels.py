"""Price channels: where the close lies between bands around averages and extremes, and how wide they are.

The bands of Bollinger themselves are in `volatility` (`bb_h`, `bb_l`, `bb_pos`). Distances are in mean true ranges, a
plain mean over `unit` bars, cut to +-20; widths are logs of ratios, so that the level of volatility is not told again.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.moments import FLOOR, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_std


def log_ratio(part: Floats, whole: Floats, close: Floats) -> Floats:
    """Return log(part / whole), both at least `FLOOR` x close, cut to +-4: (n,)."""
    least = FLOOR * close
    return np.asarray(np.clip(np.log(np.maximum(part, least) / np.maximum(whole, least)), -4.0, 4.0))


def place(close: Floats, lower: Floats, upper: Floats, least: float, most: float) -> Floats:
    """Return (close - lower) / (upper - lower) cut to least..most, 0.5 where they are no channel: (n,)."""
    span = upper - lower
    still = span <= FLOOR * close
    return np.clip(np.where(still, 0.5, (close - lower) / np.where(still, 1.0, span)), least, most)


@feature(
    "bollinger_width",
    group="channels",
    source="Bollinger 2001: BandWidth, %b; by own rolling sums",
    windowed=True,
    warm_up=lambda p: max(p["long"] - 1, p["period"] + p["back"] - 1),
    period=number(20, 2, 144),
    width=number(2.0, 0.1, 10),
    long=number(200, 2, 288),
    back=number(20, 1, 144),
)
def bollinger_width(bars: Bars, period: int, width: float, long: int, back: int) -> Columns:
    """Width of the bands relative to their middle; log of it against the longer bands' and its own of `back` bars ago.

    Width is 2 x `width` standard deviations of the close. `bb_width_rel`: log(width / width over `long` bars),
    `bb_width_change`: log(width / width `back` bars ago), both cut to +-4; `bb_pos_long`: place of the close in the
    longer bands, 0 at the lower, 1 at the upper, cut to -1..2, 0.5 where nothing moved.
    """
    narrow, wide = (2 * width * rolling_std(bars.close, window) for window in (period, long))
    middle = rolling_mean(bars.close, long)
    return {
        ("bb_width", period, width): narrow / rolling_mean(bars.close, period),
        ("bb_width_rel", period, long): log_ratio(narrow, wide, bars.close),
        ("bb_width_change", period, back): log_ratio(narrow, shifted(narrow, back), bars.close),
        ("bb_pos_long", long, width): place(bars.close, middle - 0.5 * wide, middle + 0.5 * wide, -1.0, 2.0),
    }


@feature(
    "bollinger_beyond",
    group="channels",
    source="own: closes beyond the bands of Bollinger; TA-Lib BBANDS",
    warm_up=lambda p: p["period"] + p["window"] - 2,
    period=number(20, 2, 144),
    width=number(2.0, 0.1, 10),
    window=number(48, 2, 144),
)
def bollinger_beyond(bars: Bars, period: int, width: float, window: int) -> Columns:
    """Closes above the upper band less closes below the lower, over the window, / window: -1..1."""
    import talib

    close = bars.close
    upper, _, lower = talib.BBANDS(close, timeperiod=period, nbdevup=width, nbdevdn=width)
    least = FLOOR * close
    side = np.where(close > upper + least, 1.0, np.where(close < lower - least, -1.0, 0.0 * upper))
    return {("bb_beyond", period, width, window): rolling_mean(side, window)}


@feature(
    "keltner",
    group="channels",
    source="Keltner 1960, Raschke's version; TA-Lib KC",
    warm_up=lambda p: max(p["period"] - 1, p["range"]),
    period=number(8, 2, 62),
    range=number(10, 2, 28),
    width=number(2.0, 0.1, 10),
)
def keltner(bars: Bars, period: int, range: int, width: float) -> Columns:
    """Place of the close in exponential average of typical prices -+ `width` average true ranges: 0 lower, 1 upper.

    The typical price is the mean of high, low and close, the true range's average Wilder's over `range` bars. Cut to
    -2..3, 0.5 where nothing moved.
    """
    import talib

    prices = (bars.high, bars.low, bars.close)
    upper, _, lower = talib.KC(*prices, timeperiod=period, atrperiod=range, nbdev=width)
    return {("kc_pos", period, width): place(bars.close, lower, upper, -2.0, 3.0)}


@feature(
    "squeeze",
    group="channels",
    source="Carter 2005: bands of Bollinger against those of Keltner",
    windowed=True,
    warm_up=lambda p: p["period"] + p["window"] - 1,
    period=number(20, 2, 144),
    bollinger=number(2.0, 0.1, 10),
    keltner=number(1.5, 0.1, 10),
    window=number(48, 2, 144),
)
def squeeze(bars: Bars, period: int, bollinger: float, keltner: float, window: int) -> Columns:
    """Log(width of Bollinger's / of Keltner's bands), cut to +-4, and the share of the window's bars with it below 0.

    Bollinger's are `bollinger` standard deviations, Keltner's `keltner` mean true ranges wide, both over the period.
    """
    inner = bollinger * rolling_std(bars.close, period)
    outer = keltner * mean_true_range(bars, period)
    ratio = log_ratio(inner, outer, bars.close)
    inside = np.where(np.isnan(ratio), np.nan, ratio < 0.0)
    return {("squeeze", period): ratio, ("squeeze_share", period, window): rolling_mean(inside, window)}


@feature(
    "donchian",
    group="channels",
    source="Donchian; TA-Lib DONCHIAN",
    windowed=True,
    warm_up=lambda p: max(max(p["windows"]) - 1, p["unit"]),
    windows=periods(24, 72, 288, high=288),
    unit=number(24, 2, 200),
)
def donchian(bars: Bars, windows: tuple[int, ...], unit: int) -> Columns:
    """Place of the close between the window's lowest low (0) and highest high (1); log of that channel's width.

    The width is in mean true ranges x root of the window, its log cut to +-4; the place is 0.5 where nothing moved.
    """
    import talib

    scale = mean_true_range(bars, unit)
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        upper, _, lower = talib.DONCHIAN(bars.high, bars.low, timeperiod=window)
        out[("donch_pos", window)] = place(bars.close, lower, upper, 0.0, 1.0)
        out[("donch_width", window)] = log_ratio(upper - lower, scale * window**0.5, bars.close)
    return out


@feature(
    "extremes",
    group="channels",
    source="distance from rolling extremes; TA-Lib MAX, MIN",
    windowed=True,
    warm_up=lambda p: max(max(p["windows"]) - 1, p["unit"]),
    windows=periods(16, 144, high=288),
    unit=number(24, 2, 200),
)
def extremes(bars: Bars, windows: tuple[int, ...], unit: int) -> Columns:
    """Highest high of the window - close, and close - lowest low, in mean true ranges x root of the window."""
    import talib

    scale = mean_true_range(bars, unit)
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        highest, lowest = talib.MAX(bars.high, timeperiod=window), talib.MIN(bars.low, timeperiod=window)
        out[("high_dist", window)] = in_ranges(highest - bars.close, scale * window**0.5, bars.close)
        out[("low_dist", window)] = in_ranges(bars.close - lowest, scale * window**0.5, bars.close)
    return out


@feature(
    "breakouts",
    group="channels",
    source="own: new extremes of a Donchian channel; TA-Lib MAX, MIN",
    windowed=True,
    warm_up=lambda p: p["channel"] + p["window"] - 1,
    channel=number(20, 2, 144),
    window=number(40, 2, 144),
)
def breakouts(bars: Bars, channel: int, window: int) -> Columns:
    """Bars of the window with a high above, less those with a low below, the `channel` bars before each, / window.

    `breakout_count`: their sum / window, 0..2: how often the market left its range, either way.
    """
    import talib

    highest = shifted(talib.MAX(bars.high, timeperiod=channel), 1)
    lowest = shifted(talib.MIN(bars.low, timeperiod=channel), 1)
    above, below = (np.where(np.isnan(lowest), np.nan, side) for side in (bars.high > highest, bars.low < lowest))
    up, down = rolling_mean(above, window), rolling_mean(below, window)
    return {("breakout_bias", channel, window): up - down, ("breakout_count", channel, window): up + down}


@feature(
    "percent_rank",
    group="channels",
    source="percentile of the close; TA-Lib PERCENTRANK",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(40, 170, high=288),
)
def percent_rank(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Share of the window's closes before this one that lie below it, in percent, 0..100."""
    import talib

    return {("close_rank", window): talib.PERCENTRANK(bars.close, timeperiod=window) for window in windows}
