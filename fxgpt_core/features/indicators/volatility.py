"""Realised volatility from closes and from ranges, in log-return units per bar, and HAR components in logs.

Sources: Parkinson (1980), Garman & Klass (1980, eq. 19 without the jump), Rogers & Satchell (1991), Yang & Zhang
(2000), heterogeneous autoregressive components after Corsi (2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_std


def root(variance: Floats) -> Floats:
    """Return the root of a variance, 0 where rounding or the estimator left it below 0: (bars,)."""
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def parkinson_variance(bars: Bars) -> Floats:
    """Return ln(high/low)² / (4 ln 2), one bar's variance from its range (Parkinson 1980): (bars,)."""
    return np.asarray(np.square(bars.log_range) / (4 * math.log(2)))


def garman_klass_variance(bars: Bars) -> Floats:
    """Return one bar's variance from its range and body (Garman & Klass 1980): (bars,)."""
    return Legs.of(bars).garman_klass()


@dataclass(frozen=True)
class Legs:
    """Logs of open / previous close, high / open, low / open and close / open, (bars,) each, perhaps rescaled."""

    gap: Floats
    up: Floats
    down: Floats
    body: Floats

    @classmethod
    def of(cls, bars: Bars) -> Legs:
        """Return those of the bars; the first has no gap (NaN)."""
        gap = np.full(len(bars), np.nan)
        gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
        return cls(gap, *(np.log(price / bars.open) for price in (bars.high, bars.low, bars.close)))

    def parkinson(self) -> Floats:
        """Return (up - down)² / (4 ln 2): (bars,)."""
        return np.asarray(np.square(self.up - self.down) / (4 * math.log(2)))

    def garman_klass(self) -> Floats:
        """Return ½ (up - down)² - (2 ln 2 - 1) body²: (bars,)."""
        return np.asarray(0.5 * np.square(self.up - self.down) - (2 * math.log(2) - 1) * np.square(self.body))

    def rogers_satchell(self) -> Floats:
        """Return up (up - body) + down (down - body), free of drift (Rogers & Satchell 1991): (bars,)."""
        return np.asarray(self.up * (self.up - self.body) + self.down * (self.down - self.body))


def yang_zhang_variance(legs: Legs, window: int) -> Floats:
    """Return the variance of gaps + k x that of bodies + (1 - k) x Rogers–Satchell over the window: (bars,)."""
    unbiased = window / (window - 1)
    overnight, open_close = (unbiased * rolling_std(x, window) ** 2 for x in (legs.gap, legs.body))
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    return np.asarray(overnight + k * open_close + (1 - k) * rolling_mean(legs.rogers_satchell(), window))


@feature(
    "realised_volatility",
    group="volatility",
    source="root mean square of log returns",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(10, 60, low=1, high=288),
)
def realised_volatility(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Root mean square of close-to-close log returns over the window."""
    return {("rv", window): root(rolling_mean(bars.squared_return, window)) for window in windows}


@feature(
    "parkinson",
    group="volatility",
    source="Parkinson 1980",
    windowed=True,
    warm_up=lambda p: p["window"] - 1,
    window=number(6, 1, 288),
)
def parkinson(bars: Bars, window: int) -> Columns:
    """Parkinson volatility: root of the mean of ln(high/low)² / (4 ln 2) over the window, in log return per bar."""
    return {("vol_parkinson", window): root(rolling_mean(parkinson_variance(bars), window))}


@feature(
    "garman_klass",
    group="volatility",
    source="Garman & Klass 1980, eq. 19 without the jump",
    windowed=True,
    warm_up=lambda p: p["window"] - 1,
    window=number(120, 1, 288),
)
def garman_klass(bars: Bars, window: int) -> Columns:
    """Garman–Klass volatility: root of the mean of ½ ln(high/low)² - (2 ln 2 - 1) ln(close/open)² over the window."""
    return {("vol_gk", window): root(rolling_mean(garman_klass_variance(bars), window))}


@feature(
    "yang_zhang",
    group="volatility",
    source="Yang & Zhang 2000, eq. 9 with k of eq. 10",
    windowed=True,
    warm_up=lambda p: p["window"],
    version=2,
    window=number(20, 2, 288),
)
def yang_zhang(bars: Bars, window: int) -> Columns:
    """Yang–Zhang volatility: root of variance of gaps + k x variance of bodies + (1 - k) x Rogers–Satchell."""
    return {("vol_yz", window): root(yang_zhang_variance(Legs.of(bars), window))}


@feature(
    "har",
    group="volatility",
    source="Corsi 2009, in logs; range version with Parkinson variances",
    windowed=True,
    warm_up=lambda p: max(*p["returns"], *(window - 1 for window in p["ranges"])),
    version=2,
    returns=periods(12, 48, 144, low=1, high=288),
    ranges=periods(12, 48, 288, low=1, high=288),
)
def har(bars: Bars, returns: tuple[int, ...], ranges: tuple[int, ...]) -> Columns:
    """Log volatility over several spans, from returns and from ranges (Parkinson), at least 1e-6 per bar.

    The longest spans differ: over a day of 5m bars returns and ranges say the same.
    """
    out: dict[tuple[str, int], Floats] = {}
    for name, variance, windows in (
        ("har_ret", bars.squared_return, returns),
        ("har_range", parkinson_variance(bars), ranges),
    ):
        out |= {(name, window): np.log(np.maximum(root(rolling_mean(variance, window)), FLOOR)) for window in windows}
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
    period=number(20, 2, 2000),
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
