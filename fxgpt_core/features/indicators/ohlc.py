"""Relative OHLC: where a bar's prices lie relative to one another and to the bar before (SPEC 2)."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import shifted
from fxgpt_core.features.parameters import number
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum

STILL = 1e-8
"""Share of the price below which a range counts as none: far below a tick, far above rounding."""


@feature("ohlc", group="ohlc", source="SPEC 2, relative OHLC", windowed=True, warm_up=lambda p: 1, version=2)
def relative_ohlc(bars: Bars) -> Columns:
    """Logs of open/previous close, high/open, low/open and close/previous close.

    Log of close/open is the last less the first; it stands by itself in `body` (group `ohlc_same`), because on quotes
    without gaps it is nearly the same column.
    """
    gap = np.full(len(bars), np.nan)
    gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
    return {
        ("open_gap",): gap,
        ("high_open",): np.log(bars.high / bars.open),
        ("low_open",): np.log(bars.low / bars.open),
        ("close_close",): bars.log_return,
    }


@feature("body", group="ohlc_same", source="SPEC 2, relative OHLC", windowed=True, warm_up=lambda p: 0)
def body(bars: Bars) -> Columns:
    """Log of close/open: correlated above .98 with the log of close/previous close, hence off by default."""
    return {("close_open",): np.log(bars.close / bars.open)}


@feature("candle", group="ohlc", source="shares of a candle's range", windowed=True, warm_up=lambda p: 0)
def candle(bars: Bars) -> Columns:
    """Shares of the bar's range: (close - open) / (high - low), -1..1; upper and lower shadow / (high - low), 0..1.

    All are 0 where the bar has no range.
    """
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    return {
        ("body_share",): _share(bars.close - bars.open, bars),
        ("upper_share",): _share(bars.high - top, bars),
        ("lower_share",): _share(bottom - bars.low, bars),
    }


@feature("previous_bar", group="ohlc", source="inside and outside bars, as a share", windowed=True, warm_up=lambda p: 1)
def previous_bar(bars: Bars) -> Columns:
    """Common range with the bar before / range of both together, -1..1; close within the range of the bar before.

    `overlap`: (lower of the highs - higher of the lows) / (higher high - lower low), negative for a hole between them,
    1 where both together have no range. `close_before`: (close - previous low) / (previous high - previous low), cut to
    -2..3, 0.5 where that bar had no range.
    """
    high, low = shifted(bars.high, 1), shifted(bars.low, 1)
    span = np.maximum(bars.high, high) - np.minimum(bars.low, low)
    common = np.minimum(bars.high, high) - np.maximum(bars.low, low)
    still, none = span <= STILL * bars.close, high - low <= STILL * bars.close
    place = (bars.close - low) / np.where(none, 1.0, high - low)
    return {
        ("overlap",): np.where(still, 1.0, common / np.where(still, 1.0, span)),
        ("close_before",): np.clip(np.where(none, 0.5, place), -2.0, 3.0),
    }


@feature(
    "candle_pressure",
    group="ohlc",
    source="sums of candle parts over a window / sum of ranges",
    windowed=True,
    warm_up=lambda p: p["window"] - 1,
    window=number(10, 2, 288),
)
def candle_pressure(bars: Bars, window: int) -> Columns:
    """Over the window, as shares of its summed ranges: lower less upper shadows, -1..1, and sizes of bodies, 0..1.

    Both are 0 where nothing moved.
    """
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    ranges = rolling_sum((bars.high - bars.low) / bars.close, window)
    still = ranges <= STILL * window
    parts = {"shadows": (bottom - bars.low) - (bars.high - top), "bodies": top - bottom}
    sums = {name: rolling_sum(part / bars.close, window) for name, part in parts.items()}
    return {(name, window): np.where(still, 0.0, part / np.where(still, 1.0, ranges)) for name, part in sums.items()}


@feature(
    "range_expansion",
    group="ohlc",
    source="range of a bar against those before it",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(14, 2, 288),
)
def range_expansion(bars: Bars, window: int) -> Columns:
    """Log of (bar's log range / mean log range of the `window` bars before), both at least 1e-6, cut to +-4."""
    usual = rolling_mean(shifted(bars.log_range, 1), window)
    return {("expansion", window): np.clip(np.log(np.maximum(bars.log_range, 1e-6) / np.maximum(usual, 1e-6)), -4, 4)}


def _share(part: Floats, bars: Bars) -> Floats:
    """Return part / range of the bar, 0 without range: (bars,)."""
    span = bars.high - bars.low
    still = span <= STILL * bars.close
    return np.where(still, 0.0, part / np.where(still, 1.0, span))
