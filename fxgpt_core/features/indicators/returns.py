"""Past returns: single lags, and sums over windows in units of their own volatility."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR, drift, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum
from fxgpt_core.market.calendar import week_open

AFTER_WEEKEND = 288
"""Bars after a week's first one on which its gap is still told."""


@feature(
    "lagged_return",
    group="returns",
    source="log return of an earlier bar",
    windowed=True,
    warm_up=lambda p: max(p["lags"]) + 1,
    lags=periods(1, 2, 3, low=1, high=288),
)
def lagged_return(bars: Bars, lags: tuple[int, ...]) -> Columns:
    """Log return of the bar `lag` bars ago."""
    return {("ret_lag", lag): shifted(bars.log_return, lag) for lag in lags}


@feature(
    "momentum",
    group="returns",
    source="sum of log returns / root of their sum of squares (a t statistic of the drift)",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    version=2,
    windows=periods(6, 24, 120, low=1, high=288),
)
def momentum(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Return over the window divided by the root of its summed squared returns; 0 where nothing moved."""
    return {("mom", window): drift(bars.log_return, window) for window in windows}


@feature(
    "momentum_change",
    group="returns",
    source="second difference of the log price / root of summed squares",
    windowed=True,
    warm_up=lambda p: 2 * max(p["windows"]),
    windows=periods(12, 48, low=1, high=144),
)
def momentum_change(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Return over the window less that over the window before / root of the squared returns of both; 0 where still."""
    out = {}
    for window in windows:
        total, energy = rolling_sum(bars.log_return, window), rolling_sum(bars.squared_return, 2 * window)
        still = energy <= 2 * window * FLOOR**2
        change = (total - shifted(total, window)) / np.sqrt(np.where(still, 1.0, energy))
        out[("mom_change", window)] = np.where(still, 0.0, change)
    return out


@feature(
    "momentum_agreement",
    group="returns",
    source="own: product of two drift statistics, bounded",
    windowed=True,
    warm_up=lambda p: p["short"] + p["long"],
    short=number(12, 1, 144),
    long=number(96, 2, 288),
)
def momentum_agreement(bars: Bars, short: int, long: int) -> Columns:
    """p / (1 + |p|) of the product p of the drift statistics of the last `short` bars and the `long` before: -1..1.

    The statistic is the sum of returns / root of their summed squares, as in `mom`: positive where the last bars went
    on, negative where they reversed what went before.
    """
    product = drift(bars.log_return, short) * shifted(drift(bars.log_return, long), short)
    return {("mom_agree", short, long): product / (1.0 + np.abs(product))}


@feature(
    "shock",
    group="returns",
    source="standardised return; maximum returns after Bali, Cakici & Whitelaw 2011",
    windowed=True,
    warm_up=lambda p: p["scale"] + p["window"],
    window=number(24, 2, 144),
    scale=number(96, 2, 288),
)
def shock(bars: Bars, window: int, scale: int) -> Columns:
    """In root mean squares of the `scale` returns before the window: largest and smallest return of the window, +-20.

    `shock`: the last return by the root mean square of the `window` returns before it, cut to +-10. `undone`: share of
    the window's largest move (the latest of equal ones) that the bars since have taken back, cut to -2..2. All are 0
    where nothing moved.
    """
    import talib

    from fxgpt_core.features.kernels.statistics import undone

    returns = bars.log_return
    before, recent = (
        shifted(np.sqrt(rolling_mean(bars.squared_return, span)), lag) for span, lag in ((scale, window), (window, 1))
    )
    largest, smallest = (extreme(returns, timeperiod=window) for extreme in (talib.MAX, talib.MIN))
    return {
        ("shock", window): _in_units(returns, recent, 10.0),
        ("ret_max", window): _in_units(largest, before, 20.0),
        ("ret_min", window): _in_units(smallest, before, 20.0),
        ("undone", window): undone(returns, window, FLOOR),
    }


@feature(
    "weekend_gap",
    group="returns",
    source="own: gap over the weekend, fading",
    windowed=True,
    warm_up=lambda p: p["scale"] + AFTER_WEEKEND,
    scale=number(60, 2, 200),
    half_life=number(24, 1, 96),
)
def weekend_gap(bars: Bars, scale: int, half_life: int) -> Columns:
    """Log of the week's first open / last week's close, and what is left of it, fading over the following bars.

    `week_gap` is in root mean squares of the last `scale` returns before the weekend; `week_gap_left`: log of close /
    last week's close in the same units. Both are cut to +-20, halve every `half_life` bars and are 0 from 288 bars
    after the week's first one on.
    """
    week, count = week_open(bars.ts_utc), len(bars)
    out = {name: np.full(count, np.nan) for name in ("week_gap", "week_gap_left")}
    known = scale + AFTER_WEEKEND
    if count <= known:
        return {(name, scale): values for name, values in out.items()}
    opens = np.r_[False, week[1:] != week[:-1]]
    first = np.maximum.accumulate(np.where(opens, np.arange(count), -1))  # row of the week's first bar
    since = np.where(first < 0, count, np.arange(count) - first)
    near = since < AFTER_WEEKEND
    opening = np.maximum(first, 1)
    unit = np.sqrt(rolling_mean(bars.squared_return, scale))[opening - 1]
    fade = np.where(near, 0.5 ** (np.minimum(since, AFTER_WEEKEND) / half_life), 0.0)
    before = bars.close[opening - 1]
    for name, price in (("week_gap", bars.open[opening]), ("week_gap_left", bars.close)):
        faded = np.where(near, _in_units(np.log(price / before), unit, 20.0) * fade, 0.0)
        out[name][known:] = faded[known:]
    return {(name, scale): values for name, values in out.items()}


def _in_units(values: Floats, unit: Floats, most: float) -> Floats:
    """Return values / unit cut to +-most, 0 where the unit is nothing: (n,)."""
    still = unit <= FLOOR
    return np.where(still, 0.0, np.clip(values / np.where(still, 1.0, unit), -most, most))
