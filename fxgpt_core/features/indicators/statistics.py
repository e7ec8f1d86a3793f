"""Memory and disorder of returns: Hurst exponent, autocorrelation, variance ratio, entropy, runs, shape.

Nothing moved means a root mean square return of at most `FLOOR`; the value told then is that of a random walk where it
has one.
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR, autocorrelation, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum


def expected_rescaled_range(length: int) -> float:
    """Return E[R/S] of independent normal returns (Anis & Lloyd 1976)."""
    ratio = math.exp(math.lgamma((length - 1) / 2) - math.lgamma(length / 2)) / math.sqrt(math.pi)
    return ratio * sum(math.sqrt((length - i) / i) for i in range(1, length))


@feature(
    "hurst",
    group="statistics",
    source="Hurst 1951; Anis & Lloyd 1976; Weron 2002",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(64, 32, 288),
)
def hurst(bars: Bars, window: int) -> Columns:
    """Hurst exponent by rescaled range: 0.5 + slope of log(R/S / its expectation) on log length, 0..1.

    Lengths are 1/8, 1/4, 1/2 and 1 of the window; R/S of a length is the mean over the parts into which the last
    returns fall; the expectation is that of independent normal returns. 0.5 where nothing moved.
    """
    from fxgpt_core.features.kernels.statistics import hurst as exponent

    expected = np.array([expected_rescaled_range(window // parts) for parts in (8, 4, 2, 1)])
    return {("hurst", window): exponent(bars.log_return, window, expected, FLOOR)}


@feature(
    "hurst_scaling",
    group="statistics",
    source="generalised Hurst exponent, q = 1: Di Matteo 2007",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(128, 32, 288),
)
def hurst_scaling(bars: Bars, window: int) -> Columns:
    """Hurst exponent by scaling: slope of log mean |change over k bars| on log k, k = 1, 2, 4, 8, 16; 0..1.

    Over all changes that lie within the window; 0.5 where nothing moved.
    """
    x = np.log(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    slope, still = np.zeros(len(bars)), np.zeros(len(bars), dtype=bool)
    for span, weight in zip((1, 2, 4, 8, 16), weights, strict=True):
        change = bars.log_return if span == 1 else rolling_sum(bars.log_return, span)
        size = rolling_mean(np.abs(change), window - span + 1)
        still |= size <= FLOOR
        slope += weight * np.log(np.maximum(size, FLOOR))
    return {("hurst_scaling", window): np.where(still, 0.5, np.clip(slope, 0.0, 1.0))}


@feature(
    "autocorrelation",
    group="statistics",
    source="Pearson correlation with earlier values",
    windowed=True,
    warm_up=lambda p: p["window"] + max(p["lags"]),
    lags=periods(1, 2, 3, low=1, high=48),
    window=number(64, 8, 240),
)
def return_autocorrelation(bars: Bars, lags: tuple[int, ...], window: int) -> Columns:
    """Correlation of returns with those `lag` bars before, over `window` pairs; 0 where nothing moved."""
    return {("acf", lag, window): autocorrelation(bars.log_return, lag, window) for lag in lags}


@feature(
    "size_autocorrelation",
    group="statistics",
    source="Ding, Granger & Engle 1993, absolute returns",
    windowed=True,
    warm_up=lambda p: p["window"] + max(p["lags"]),
    lags=periods(1, 4, 12, low=1, high=48),
    window=number(128, 8, 240),
)
def size_autocorrelation(bars: Bars, lags: tuple[int, ...], window: int) -> Columns:
    """Correlation of absolute returns with those `lag` bars before, over `window` pairs; 0 where nothing moved."""
    return {("acf_abs", lag, window): autocorrelation(np.abs(bars.log_return), lag, window) for lag in lags}


@feature(
    "variance_ratio",
    group="statistics",
    source="Lo & MacKinlay 1988, eq. 20, with mean zero",
    windowed=True,
    warm_up=lambda p: p["window"],
    spans=periods(4, 16, low=2, high=32),
    window=number(144, 48, 288),
)
def variance_ratio(bars: Bars, spans: tuple[int, ...], window: int) -> Columns:
    """Heteroskedasticity-consistent z of (variance of q-bar returns / q x that of one-bar returns) - 1; cut to +-6.

    Over the overlapping q-bar returns of the window, taken to have mean zero; about standard normal for a random walk,
    above 0 in trends; 0 where nothing moved.
    """
    squares = bars.squared_return
    total = rolling_sum(squares, window)
    still = total <= window * FLOOR**2
    safe = np.where(still, 1.0, total)
    products = [rolling_sum(squares * shifted(squares, lag), window - lag) for lag in range(1, max(spans))]
    out: dict[tuple[str, int, int], Floats] = {}
    for span in spans:
        sums = rolling_sum(bars.log_return, span)
        ratio = rolling_mean(sums * sums, window - span + 1) / span / (safe / window)
        theta = np.zeros(len(bars))
        for lag in range(1, span):
            theta += (2 * (span - lag) / span) ** 2 * window * products[lag - 1] / (safe * safe)
        z = math.sqrt(window) * (ratio - 1) / np.sqrt(np.maximum(theta, 1e-3))
        out[("vr_z", span, window)] = np.where(still, 0.0, np.clip(z, -6.0, 6.0))
    return out


@feature(
    "permutation_entropy",
    group="statistics",
    source="Bandt & Pompe 2002",
    windowed=True,
    warm_up=lambda p: p["long"] + 2,
    short=number(48, 12, 288),
    long=number(144, 24, 285),
)
def permutation_entropy(bars: Bars, short: int, long: int) -> Columns:
    """Entropy of the order in which successive closes lie / its largest value: 0 (one pattern) .. 1 (all alike).

    Patterns of three closes over the `short` window, of four over the `long`; of equal closes the earlier counts as
    the lower.
    """
    from fxgpt_core.features.kernels.statistics import entropy_of_codes, ordinal_codes

    shapes = ((3, 6, short), (4, 24, long))
    return {
        ("perm_entropy", order, window): entropy_of_codes(ordinal_codes(bars.close, order), kinds, window)
        for order, kinds, window in shapes
    }


@feature(
    "sign_entropy",
    group="statistics",
    source="Shannon 1948, words of signs",
    windowed=True,
    warm_up=lambda p: p["window"] + 3,
    window=number(96, 27, 284),
)
def sign_entropy(bars: Bars, window: int) -> Columns:
    """Shannon entropy of the words that four successive signs of returns make, over the window's words / log 16.

    A return of exactly nothing counts as a fall.
    """
    from fxgpt_core.features.kernels.statistics import entropy_of_codes

    up = (bars.log_return > 0.0).astype(np.int64)
    codes = np.full(len(bars), -1, dtype=np.int64)
    codes[4:] = 8 * up[1:-3] + 4 * up[2:-2] + 2 * up[3:-1] + up[4:]
    return {("sign_entropy", window): entropy_of_codes(codes, 16, window)}


@feature(
    "energy_entropy",
    group="statistics",
    source="Shannon 1948, of the shares in realised variance",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(12, 48, low=4, high=288),
)
def energy_entropy(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Entropy of the bars' shares in the window's summed squared returns / log(window): 0 (one bar moved) .. 1.

    1 where nothing moved.
    """
    squares = bars.squared_return
    information = squares * np.log(np.where(squares > 0.0, squares, 1.0))
    out = {}
    for window in windows:
        total = rolling_sum(squares, window)
        still = total <= window * FLOOR**2
        safe = np.where(still, 1.0, total)
        entropy = (np.log(safe) - rolling_sum(information, window) / safe) / math.log(window)
        out[("energy_entropy", window)] = np.where(still, 1.0, np.clip(entropy, 0.0, 1.0))
    return out


@feature(
    "shape",
    group="statistics",
    source="moment coefficients of skewness and kurtosis",
    windowed=True,
    warm_up=lambda p: max(*p["windows"], p["kurtosis"]),
    windows=periods(36, 160, low=8, high=288),
    kurtosis=number(72, 8, 288),
)
def shape(bars: Bars, windows: tuple[int, ...], kurtosis: int) -> Columns:
    """Skewness of the window's returns, and log of (their kurtosis / 3); 0 where they do not vary."""
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        variance, third, _ = _central_moments(bars.log_return, window)
        still = variance <= FLOOR**2
        safe = np.where(still, 1.0, variance)
        out[("skew", window)] = np.where(still, 0.0, third / (safe * np.sqrt(safe)))
    variance, _, fourth = _central_moments(bars.log_return, kurtosis)
    still = variance <= FLOOR**2
    ratio = fourth / np.where(still, 1.0, variance * variance) / 3.0
    out[("kurt", kurtosis)] = np.where(still, 0.0, np.log(np.where(still, 1.0, np.maximum(ratio, 1.0 / 3.0))))
    return out


def _central_moments(values: Floats, window: int) -> tuple[Floats, Floats, Floats]:
    """Return the second, third and fourth moment about the window's mean: (n,) each."""
    squares = values * values
    m1, m2, m3, m4 = (rolling_mean(x, window) for x in (values, squares, squares * values, squares * squares))
    square = m1 * m1
    third = m3 - 3 * m1 * m2 + 2 * m1 * square
    fourth = m4 - 4 * m1 * m3 + 6 * square * m2 - 3 * square * square
    return np.asarray(m2 - square), np.asarray(third), np.asarray(fourth)
