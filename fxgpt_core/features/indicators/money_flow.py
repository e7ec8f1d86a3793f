"""Money flow: moves weighted by volume; NaN where the venue gives no volume, 0 where nothing was traded.

Sums are plain ones over windows: TA-Lib's running sums and cumulative lines (MFI, CMF, OBV, AD, NVI …) carry one
missing volume on to the end of the series, and their rounding depends on where it begins.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.moments import FLOOR, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum


def share(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """Return part / whole, `otherwise` where the whole is nothing, NaN where it is unknown: (n,)."""
    nothing = whole <= 0.0
    return np.where(nothing, otherwise, part / np.where(nothing, 1.0, whole))


def close_location(bars: Bars) -> Floats:
    """Return ((close - low) - (high - close)) / (high - low), -1..1, 0 for a bar without range: (bars,)."""
    return share(2 * bars.close - bars.high - bars.low, bars.high - bars.low)


@feature(
    "mfi",
    group="money_flow",
    source="Quong & Soudack 1989",
    windowed=True,
    warm_up=lambda p: p["period"],
    period=number(14, 2, 288),
)
def mfi(bars: Bars, period: int) -> Columns:
    """Money flow index: 100 x flow of rising bars / flow of moving bars over the period; 50 where there is none.

    Flow is typical price (mean of high, low, close) x volume; a bar rises or falls by its typical price.
    """
    typical = (bars.high + bars.low + bars.close) / 3.0
    change, flow = typical - shifted(typical, 1), typical * bars.volume
    rising, moving = (rolling_sum(np.where(kind, flow, 0.0 * flow), period) for kind in (change > 0, change != 0))
    index = 100.0 * share(rising, moving, 0.5)
    return {("mfi", period): np.where(np.isnan(rolling_sum(change, period)), np.nan, index)}


@feature(
    "obv",
    group="money_flow",
    source="Granville 1963, as a difference",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(12, 60, high=288),
)
def obv(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Change of on-balance volume (volume of rising less falling closes) over the window / its volume: -1..1."""
    signed = np.sign(bars.log_return) * bars.volume
    known = bars.volume + 0.0 * bars.log_return
    return {("obv", window): share(rolling_sum(signed, window), rolling_sum(known, window)) for window in windows}


@feature(
    "chaikin",
    group="money_flow",
    source="Chaikin; money flow (CMF) and oscillator by plain means",
    windowed=True,
    warm_up=lambda p: max(p["window"], p["fast"], p["slow"]) - 1,
    fast=number(3, 1, 100),
    slow=number(10, 2, 288),
    window=number(20, 2, 288),
)
def chaikin(bars: Bars, fast: int, slow: int, window: int) -> Columns:
    """Volume x place of the close in its bar (-1..1), summed over the window / volume of the window: -1..1.

    `cmf`: over `window` bars. `adosc`: that over `fast` less that over `slow` bars, after Chaikin's oscillator.
    """
    flow = close_location(bars) * bars.volume
    level = {span: share(rolling_sum(flow, span), rolling_sum(bars.volume, span)) for span in {fast, slow, window}}
    return {("cmf", window): level[window], ("adosc", fast, slow): level[fast] - level[slow]}


@feature(
    "vwap",
    group="money_flow",
    source="volume-weighted average price of a moving window",
    windowed=True,
    warm_up=lambda p: max(max(p["windows"]) - 1, p["unit"]),
    windows=periods(16, 160, high=288),
    unit=number(24, 2, 200),
)
def vwap(bars: Bars, windows: tuple[int, ...], unit: int) -> Columns:
    """Close - volume-weighted mean of typical prices over the window, and that mean - plain mean.

    In mean true ranges (a plain mean over `unit` bars) x root of the window, cut to +-20. Where nothing was traded the
    weighted mean is the plain one.
    """
    scale, typical = mean_true_range(bars, unit), (bars.high + bars.low + bars.close) / 3.0
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        plain, traded = rolling_mean(typical, window), rolling_sum(bars.volume, window)
        nothing = traded <= 0.0
        spent = rolling_sum(typical * bars.volume, window)
        weighted = np.where(nothing, plain, spent / np.where(nothing, 1.0, traded))
        out[("vwap_dist", window)] = in_ranges(bars.close - weighted, scale * window**0.5, bars.close)
        out[("vwap_lean", window)] = in_ranges(weighted - plain, scale * window**0.5, bars.close)
    return out


@feature(
    "force",
    group="money_flow",
    source="Elder 1993, relative",
    windowed=True,
    warm_up=lambda p: max(p["period"], p["unit"]),
    period=number(13, 1, 288),
    unit=number(96, 2, 288),
)
def force(bars: Bars, period: int, unit: int) -> Columns:
    """Mean of (change of the close x volume) over the period / (mean volume x mean true range over `unit` bars).

    Cut to +-20; 0 where nothing moved or was traded.
    """
    moved = (bars.close - shifted(bars.close, 1)) * bars.volume
    per_volume = share(rolling_mean(moved, period), rolling_mean(bars.volume, unit))
    return {("force", period): in_ranges(per_volume, mean_true_range(bars, unit), bars.close)}


@feature(
    "ease_of_movement",
    group="money_flow",
    source="Arms 1983, relative",
    windowed=True,
    warm_up=lambda p: p["period"] + p["unit"] - 1,
    period=number(14, 1, 144),
    unit=number(96, 2, 144),
)
def ease_of_movement(bars: Bars, period: int, unit: int) -> Columns:
    """Mean over the period of (change of the bar's middle x its range / its volume), each relative to what is usual.

    Change and range in mean true ranges, volume in mean volumes, both over `unit` bars; a bar's value is cut to +-20,
    0 where nothing moved or was traded.
    """
    middle = 0.5 * (bars.high + bars.low)
    scale = mean_true_range(bars, unit)
    usual = share(rolling_mean(bars.volume, unit), bars.volume)
    ease = in_ranges(middle - shifted(middle, 1), scale, bars.close) * in_ranges(
        bars.high - bars.low, scale, bars.close
    )
    return {("eom", period): rolling_mean(np.clip(ease * usual, -20.0, 20.0), period)}


@feature(
    "volume_index",
    group="money_flow",
    source="Dysart 1936, Fosback 1976: positive and negative volume index, as differences",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(60, 2, 288),
)
def volume_index(bars: Bars, window: int) -> Columns:
    """Change of the log positive (negative) volume index over the window / root of its squared returns, cut to +-20.

    They sum the returns of bars whose volume rose (fell) against the bar before; 0 where nothing moved.
    """
    change = bars.volume - shifted(bars.volume, 1)
    energy = rolling_sum(bars.squared_return, window)
    still = energy <= window * FLOOR**2
    root = np.sqrt(np.where(still, 1.0, energy))
    out = {}
    for name, kind in (("pvi", change > 0), ("nvi", change < 0)):
        moved = rolling_sum(np.where(kind, bars.log_return, 0.0 * change), window)
        out[(name, window)] = np.where(still & ~np.isnan(moved), 0.0, moved / root)
    return out
