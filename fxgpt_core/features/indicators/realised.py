"""What realised volatility is made of: estimators against one another, jumps, sides, tails, and its own variability.

All are ratios, so that they say something else than the level (`volatility`). Nothing moved means a root mean square
of at most `FLOOR`.
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.volatility import Legs, parkinson_variance, root, yang_zhang_variance
from fxgpt_core.features.moments import FLOOR, rolling_correlation, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_std, rolling_sum

_HUANG_TAUCHEN = math.pi**2 / 4 + math.pi - 5
_MU_43 = 2 ** (2 / 3) * math.gamma(7 / 6) / math.gamma(1 / 2)
"""E|Z|^(4/3) of a standard normal Z."""


def log_ratio(over: Floats, under: Floats, floor: float = FLOOR) -> Floats:
    """Return log(over / under) of volatilities, both at least `floor`, cut to +-3: (bars,)."""
    return np.asarray(np.clip(np.log(np.maximum(over, floor) / np.maximum(under, floor)), -3.0, 3.0))


def bipower_variance(returns: Floats, window: int) -> Floats:
    """Return pi/2 x mean of |r| |r before| over the window's pairs, free of jumps in the limit: (n,).

    Barndorff-Nielsen & Shephard 2004, with their correction for the pair that a window lacks.
    """
    size = np.abs(returns)
    return np.asarray(math.pi / 2 * rolling_mean(size * shifted(size, 1), window - 1))


def jump_share(returns: Floats, window: int, floor: float = FLOOR) -> Floats:
    """Return 1 - bipower / realised variance over the window, at least -1, 0 where nothing moved: (n,)."""
    realised = rolling_mean(returns * returns, window)
    still = realised <= floor**2
    share = 1.0 - bipower_variance(returns, window) / np.where(still, 1.0, realised)
    return np.where(still, 0.0, np.maximum(share, -1.0))


def upside(returns: Floats, window: int, floor: float = FLOOR) -> Floats:
    """Return the share of squared rises in all squared returns of the window, 0.5 where nothing moved: (n,)."""
    squares = returns * returns
    total = rolling_sum(squares, window)
    still = total <= window * floor**2
    rises = rolling_sum(np.where(returns < 0.0, 0.0, squares), window)
    return np.where(still, 0.5, rises / np.where(still, 1.0, total))


@feature(
    "estimators",
    group="volatility",
    source="Parkinson 1980; Garman & Klass 1980; Rogers & Satchell 1991; Yang & Zhang 2000",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(12, 48, low=2, high=288),
)
def estimators(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Logs of ratios of volatility estimators over one window, both at least 1e-6, cut to +-3.

    `est_pk_cc`: Parkinson / root mean square return (high: the range is walked to and fro); `est_rs_gk`:
    Rogers–Satchell / Garman–Klass (it is blind to drift within bars); `est_yz_gk`: Yang–Zhang / Garman–Klass (high:
    gaps between bars); `est_gk_pk`, of the first window alone: Garman–Klass / Parkinson (high: small bodies).
    """
    legs, parkinson = Legs.of(bars), parkinson_variance(bars)
    garman, rogers = legs.garman_klass(), legs.rogers_satchell()
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        cc, pk, gk, rs = (root(rolling_mean(x, window)) for x in (bars.squared_return, parkinson, garman, rogers))
        yz = root(yang_zhang_variance(legs, window))
        pairs = {"pk_cc": (pk, cc), "rs_gk": (rs, gk), "yz_gk": (yz, gk)}
        if window == windows[0]:
            pairs["gk_pk"] = (gk, pk)
        out |= {(f"est_{name}", window): log_ratio(*pair) for name, pair in pairs.items()}
    return out


@feature(
    "jump_share",
    group="volatility",
    source="Barndorff-Nielsen & Shephard 2004, bipower variation",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(24, 192, low=3, high=288),
)
def jumps(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """1 - bipower variation / realised variance over the window, at least -1; 0 where nothing moved."""
    return {("jump_share", window): jump_share(bars.log_return, window) for window in windows}


@feature(
    "jump_z",
    group="volatility",
    source="Huang & Tauchen 2005, eq. 13 (ratio statistic, tripower quarticity)",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(72, 4, 288),
)
def jump_z(bars: Bars, window: int) -> Columns:
    """Ratio statistic of jumps over the window, standard normal without any; cut to +-10, 0 where nothing moved."""
    size = np.abs(bars.log_return)
    realised, bipower = rolling_mean(bars.squared_return, window), bipower_variance(bars.log_return, window)
    powered = np.cbrt(size) ** 4
    triples = powered * shifted(powered, 1) * shifted(powered, 2)
    tripower = rolling_mean(triples, window - 2) / _MU_43**3
    still = (realised <= FLOOR**2) | (bipower <= FLOOR**2)
    spread = np.maximum(1.0, tripower / np.where(still, 1.0, bipower * bipower))
    z = (1.0 - bipower / np.where(still, 1.0, realised)) / np.sqrt(_HUANG_TAUCHEN * spread / window)
    return {("jump_z", window): np.where(still, 0.0, np.clip(z, -10.0, 10.0))}


@feature(
    "semivariance",
    group="volatility",
    source="Barndorff-Nielsen, Kinnebrock & Shephard 2010",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(12, 48, 192, low=2, high=288),
)
def semivariance(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Realised semivariance of rises / realised variance over the window: 0..1; 0.5 where nothing moved."""
    return {("semi_up", window): upside(bars.log_return, window) for window in windows}


@feature(
    "volatility_of_volatility",
    group="volatility",
    source="standard deviation of log volatility",
    windowed=True,
    warm_up=lambda p: p["fast"] + max(p["windows"]) - 2,
    fast=number(6, 1, 48),
    windows=periods(48, 192, low=2, high=240),
)
def volatility_of_volatility(bars: Bars, fast: int, windows: tuple[int, ...]) -> Columns:
    """Standard deviation over the window of the log of Parkinson volatility over `fast` bars (at least 1e-6)."""
    logs = np.log(np.maximum(root(rolling_mean(parkinson_variance(bars), fast)), FLOOR))
    return {("vov", fast, window): rolling_std(logs, window) for window in windows}


@feature(
    "volatility_ratio",
    group="volatility",
    source="Parkinson 1980, short against long",
    windowed=True,
    warm_up=lambda p: p["times"] * max(p["windows"]) - 1,
    windows=periods(6, 24, 72, low=1, high=96),
    times=number(4, 2, 12),
)
def volatility_ratio(bars: Bars, windows: tuple[int, ...], times: int) -> Columns:
    """Log of Parkinson volatility over the window / over `times` windows, both at least 1e-6, cut to +-3."""
    variance = parkinson_variance(bars)
    out = {}
    for window in windows:
        short, long = (root(rolling_mean(variance, span)) for span in (window, times * window))
        out[("vratio", window, times * window)] = log_ratio(short, long)
    return out


@feature(
    "volatility_rank",
    group="volatility",
    source="rank of Parkinson volatility in its own past",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) + p["past"] - 2,
    windows=periods(1, 12, low=1, high=96),
    past=number(288, 10, 400),
)
def volatility_rank(bars: Bars, windows: tuple[int, ...], past: int) -> Columns:
    """Share of the last `past` bars whose Parkinson volatility over the window lies below the present one, 0..1.

    Equal ones count half.
    """
    from fxgpt_core.features.kernels.statistics import rank

    variance = parkinson_variance(bars)
    return {("vrank", window): rank(rolling_mean(variance, window), past) for window in windows}


@feature(
    "quarticity",
    group="volatility",
    source="Barndorff-Nielsen & Shephard 2002, realised quarticity",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(24, 192, low=2, high=288),
)
def quarticity(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Log of (realised quarticity n/3 x sum of r⁴ / square of the realised variance), 0 for normal returns.

    Between log(1/3) and log(n/3) for n bars; 0 where nothing moved.
    """
    out = {}
    for window in windows:
        total = rolling_sum(bars.squared_return, window)
        still = total <= window * FLOOR**2
        ratio = window / 3 * rolling_sum(np.square(bars.squared_return), window) / np.where(still, 1.0, total * total)
        out[("quarticity", window)] = np.where(still, 0.0, np.log(np.where(still, 1.0, ratio)))
    return out


@feature(
    "tails",
    group="volatility",
    source="Hinkley 1975 (skewness by quantiles); Hogg 1974, Crow & Siddiqui 1967 (tail width)",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(96, 20, 288),
)
def tails(bars: Bars, window: int) -> Columns:
    """From quantiles q of the window's returns: (q95 + q05 - 2 q50) / (q95 - q05), log of (q95 - q05) / (q75 - q25).

    `tail_skew`: -1..1; `tail_width`: 0.89 for a normal, the spreads at least 1e-6, cut to 0..4. Both as of a normal
    where nothing moved. Quantiles interpolate linearly.
    """
    from fxgpt_core.features.kernels.statistics import quantiles

    low, quarter, middle, upper, high = quantiles(bars.log_return, window, np.array([0.05, 0.25, 0.5, 0.75, 0.95])).T
    wide, narrow = high - low, upper - quarter
    still = wide <= FLOOR
    skew = (high + low - 2 * middle) / np.where(still, 1.0, wide)
    width = np.clip(np.log(np.maximum(wide, FLOOR) / np.maximum(narrow, FLOOR)), 0.0, 4.0)
    return {
        ("tail_skew", window): np.where(still, 0.0, skew),
        ("tail_width", window): np.where(still, 0.8907, width),
    }


@feature(
    "leverage",
    group="volatility",
    source="leverage effect: Black 1976; Bouchaud, Matacz & Potters 2001",
    windowed=True,
    warm_up=lambda p: p["window"] + 1,
    window=number(96, 8, 287),
)
def leverage(bars: Bars, window: int) -> Columns:
    """Correlation over the window of each return with the size of the next one; 0 where nothing moved."""
    returns = bars.log_return
    return {("leverage", window): rolling_correlation(shifted(returns, 1), np.abs(returns), window)}
