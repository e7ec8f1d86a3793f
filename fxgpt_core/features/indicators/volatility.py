"""Realised volatility from closes and from ranges, in log-return units per bar, and HAR components in logs.

Sources: Parkinson (1980), Garman & Klass (1980, eq. 19 without the jump), Rogers & Satchell (1991), Yang & Zhang
(2000), heterogeneous autoregressive components after Corsi (2009).
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_std

FLOOR = 1e-6
"""Volatility (log-return units per bar) below which logs are cut: a hundredth of a pip at par."""


def _root(variance: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def parkinson_variance(bars: Bars) -> Floats:
    """Return ln(high/low)² / (4 ln 2), one bar's variance from its range (Parkinson 1980): (bars,)."""
    spread = np.log(bars.high / bars.low)
    return np.asarray(spread * spread / (4 * math.log(2)))


@feature(
    "realised_volatility",
    group="volatility",
    source="root mean square of log returns",
    warm_up=lambda p: max(p["windows"]),
    windows=periods(10, 60, low=1),
)
def realised_volatility(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Root mean square of close-to-close log returns."""
    squares = bars.log_return * bars.log_return
    return {("rv", window): _root(rolling_mean(squares, window)) for window in windows}


@feature(
    "range_volatility",
    group="volatility",
    source="Parkinson 1980; Garman & Klass 1980; Rogers & Satchell 1991",
    warm_up=lambda p: p["window"] - 1,
    window=number(20, 1, 2000),
)
def range_volatility(bars: Bars, window: int) -> Columns:
    """Parkinson, Garman–Klass and Rogers–Satchell volatility over `window` bars."""
    up, down = np.log(bars.high / bars.open), np.log(bars.low / bars.open)
    body, span = np.log(bars.close / bars.open), np.log(bars.high / bars.low)
    garman_klass = 0.5 * span * span - (2 * math.log(2) - 1) * body * body
    rogers_satchell = up * (up - body) + down * (down - body)
    return {
        ("vol_parkinson", window): _root(rolling_mean(parkinson_variance(bars), window)),
        ("vol_gk", window): _root(rolling_mean(garman_klass, window)),
        ("vol_rs", window): _root(rolling_mean(rogers_satchell, window)),
    }


@feature(
    "yang_zhang",
    group="volatility",
    source="Yang & Zhang 2000, eq. 9 with k of eq. 10",
    warm_up=lambda p: p["window"],
    window=number(20, 1, 2000),
)
def yang_zhang(bars: Bars, window: int) -> Columns:
    """Yang–Zhang volatility: variance of gaps + k x variance of bodies + (1 - k) x Rogers–Satchell."""
    gap = np.full(len(bars), np.nan)
    gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
    body = np.log(bars.close / bars.open)
    up, down = np.log(bars.high / bars.open), np.log(bars.low / bars.open)
    rogers_satchell = rolling_mean(up * (up - body) + down * (down - body), window)
    unbiased = window / (window - 1)
    overnight, open_close = (unbiased * rolling_std(x, window) ** 2 for x in (gap, body))
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    return {("vol_yz", window): _root(overnight + k * open_close + (1 - k) * rogers_satchell)}


@feature(
    "har",
    group="volatility",
    source="Corsi 2009, in logs; range version with Parkinson variances",
    warm_up=lambda p: max(p["windows"]),
    windows=periods(12, 48, 288, low=1),
)
def har(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Log volatility over several spans, from returns and from ranges, floored at `FLOOR`."""
    squares, ranges = bars.log_return * bars.log_return, parkinson_variance(bars)
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        out[("har_ret", window)] = np.log(np.maximum(_root(rolling_mean(squares, window)), FLOOR))
        out[("har_range", window)] = np.log(np.maximum(_root(rolling_mean(ranges, window)), FLOOR))
    return out


@feature(
    "atr",
    group="volatility",
    source="Wilder 1978; TA-Lib ATR",
    warm_up=lambda p: p["period"],
    period=number(14, 1, 2000),
)
def atr(bars: Bars, period: int) -> Columns:
    """Average true range relative to the close."""
    import talib

    return {("atr", period): talib.ATR(bars.high, bars.low, bars.close, timeperiod=period) / bars.close}


@feature(
    "bollinger",
    group="volatility",
    source="Bollinger; TA-Lib BBANDS",
    warm_up=lambda p: p["period"] - 1,
    period=number(20, 1, 2000),
    width=number(2.0, 0.1, 10),
)
def bollinger(bars: Bars, period: int, width: float) -> Columns:
    """Distance of the bands from the close, relative to it, and position of the close within the bands (0..1)."""
    import talib

    upper, _, lower = talib.BBANDS(bars.close, timeperiod=period, nbdevup=width, nbdevdn=width)
    span = upper - lower
    with np.errstate(invalid="ignore", divide="ignore"):
        position = (bars.close - lower) / span
    position[span <= FLOOR * bars.close] = 0.5  # nothing moved: the close is the middle
    return {
        ("bb_h", period, width): upper / bars.close - 1,
        ("bb_l", period, width): lower / bars.close - 1,
        ("bb_pos", period, width): position,
    }
