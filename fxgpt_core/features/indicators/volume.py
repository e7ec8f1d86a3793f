"""Tick volume against what is usual, against returns and against ranges; NaN throughout where the venue gives none.

Volumes are taken as logs of 1 + volume: tick counts are about log-normal, and a venue's scale drops out of differences.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR, autocorrelation, rolling_correlation
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_std, rolling_sum
from fxgpt_core.features.time_of_week import BARS, WEEKS, bar_of_week, recent, usual


def log_volume(bars: Bars) -> Floats:
    """Return log(1 + volume), NaN where there is none: (bars,)."""
    return np.asarray(np.log1p(np.maximum(bars.volume, 0.0)))


@feature(
    "relative_volume",
    group="volume",
    source="log(1 + volume) - its rolling mean",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) - 1,
    windows=periods(20, 120, low=1, high=288),
)
def relative_volume(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Log volume minus its mean over the window."""
    logs = log_volume(bars)
    return {("vol_rel", window): logs - rolling_mean(logs, window) for window in windows}


@feature(
    "volume_level",
    group="volume",
    source="mean log volume, short against long",
    windowed=True,
    warm_up=lambda p: p["times"] * max(p["windows"]) - 1,
    windows=periods(6, 48, low=1, high=96),
    times=number(6, 2, 12),
)
def volume_level(bars: Bars, windows: tuple[int, ...], times: int) -> Columns:
    """Mean log volume over the window minus that over `times` windows."""
    logs = log_volume(bars)
    means = {span: rolling_mean(logs, span) for window in windows for span in (window, times * window)}
    return {("volume_level", window, times * window): means[window] - means[times * window] for window in windows}


@feature(
    "volume_correlation",
    group="volume",
    source="Karpoff 1987, price changes and volume",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(48, 192, low=8, high=288),
)
def volume_correlation(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Correlation over the window of log volume with returns and with their sizes; 0 where one stands still."""
    logs, returns = log_volume(bars), bars.log_return
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        out[("volume_ret_corr", window)] = rolling_correlation(logs, returns, window)
        out[("volume_size_corr", window)] = rolling_correlation(logs, np.abs(returns), window)
    return out


@feature(
    "illiquidity",
    group="volume",
    source="Amihud 2002",
    windowed=True,
    warm_up=lambda p: p["times"] * max(p["windows"]),
    windows=periods(12, 48, low=1, high=96),
    times=number(6, 2, 12),
)
def illiquidity(bars: Bars, windows: tuple[int, ...], times: int) -> Columns:
    """Log of mean (|return| / (1 + volume)) over the window / that over `times` windows; 0 where nothing moved; +-4."""
    impact = np.abs(bars.log_return) / (1.0 + np.maximum(bars.volume, 0.0))
    out = {}
    for window in windows:
        short, long = rolling_mean(impact, window), rolling_mean(impact, times * window)
        still = (long <= 0.0) | (short <= 0.0)
        ratio = np.where(still, 1.0, short) / np.where(still, 1.0, long)
        calm = np.where(long > 0.0, -4.0, 0.0)  # nothing moved in the short window alone
        values = np.where(still, calm, np.clip(np.log(ratio), -4.0, 4.0))
        out[("illiquidity", window, times * window)] = np.where(np.isnan(long), np.nan, values)
    return out


@feature(
    "volume_trend",
    group="volume",
    source="correlation of log volume with time",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) - 1,
    windows=periods(24, 96, low=4, high=288),
)
def volume_trend(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Correlation of log volume with the bar's number in the window, -1..1; 0 where volume stands still."""
    logs = log_volume(bars)
    return {("volume_trend", window): _time_correlation(logs, window) for window in windows}


def _time_correlation(values: Floats, window: int) -> Floats:
    """Return the correlation of the last `window` values with their order, 0 where they do not vary: (n,)."""
    order = np.arange(window) - (window - 1) / 2
    together = np.full(len(values), np.nan)
    if len(values) >= window:
        together[window - 1 :] = np.lib.stride_tricks.sliding_window_view(values, window) @ order / window
    deviation = rolling_std(values, window)
    still = deviation <= 1e-6
    return np.where(still, 0.0, np.clip(together / np.where(still, 1.0, deviation * order.std()), -1.0, 1.0))


@feature(
    "volume_sides",
    group="volume",
    source="share of volume in rising bars",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(24, 96, low=2, high=288),
)
def volume_sides(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Share of the window's volume in bars that rose minus the share of bars that did: what volume adds to the signs.

    Bars without change count half; 0 without volume.
    """
    rises = np.where(bars.log_return > 0.0, 1.0, np.where(bars.log_return < 0.0, 0.0, 0.5))
    rises = np.where(np.isnan(bars.log_return), np.nan, rises)
    volume = np.maximum(bars.volume, 0.0)
    out = {}
    for window in windows:
        total = rolling_sum(volume + 0.0 * rises, window)
        none = total <= 0.0
        share = rolling_sum(rises * volume, window) / np.where(none, 1.0, total)
        out[("volume_up", window)] = np.where(none, 0.0, share - rolling_mean(rises, window))
    return out


@feature(
    "volume_character",
    group="volume",
    source="dispersion and persistence of log volume",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(96, 8, 287),
)
def volume_character(bars: Bars, window: int) -> Columns:
    """Standard deviation of log volume over the window, and its correlation with the bar before; 0 where still."""
    logs = log_volume(bars)
    return {
        ("volume_spread", window): rolling_std(logs, window),
        ("volume_acf", window): autocorrelation(logs, 1, window),
    }


@feature(
    "effort_result",
    group="volume",
    source="volume-spread analysis after Wyckoff; Williams 1993",
    windowed=True,
    warm_up=lambda p: p["window"] + p["mean"] - 2,
    window=number(48, 8, 240),
    mean=number(8, 2, 48),
)
def effort_result(bars: Bars, window: int, mean: int) -> Columns:
    """Effort (volume) against result (range), each as a z score of its log in the window, cut to +-5.

    `effort`: z of volume - z of range, of the last bar and as a mean of `mean` bars; `effort_side`: z of volume x
    (2 x (close - low) / (high - low) - 1): strong volume closing at the high (+) or at the low (-); `effort_corr`:
    correlation of log volume with log range over the window. z is 0 where the window does not vary.
    """
    volume, ranges = log_volume(bars), np.log(np.maximum(bars.log_range, FLOOR))
    z_volume, z_range = (_z_score(x, window) for x in (volume, ranges))
    span = bars.high - bars.low
    still = span <= 1e-8 * bars.close
    place = np.where(still, 0.0, 2 * (bars.close - bars.low) / np.where(still, 1.0, span) - 1)
    away = z_volume - z_range
    return {
        ("effort", window): away,
        ("effort_mean", mean, window): rolling_mean(away, mean),
        ("effort_side", window): z_volume * place,
        ("effort_corr", window): rolling_correlation(volume, ranges, window),
    }


def _z_score(values: Floats, window: int) -> Floats:
    """Return (value - mean) / standard deviation over the window, cut to +-5, 0 where it does not vary: (n,)."""
    deviation = rolling_std(values, window)
    still = deviation <= 1e-6
    return np.where(
        still, 0.0, np.clip((values - rolling_mean(values, window)) / np.where(still, 1.0, deviation), -5, 5)
    )


def fit_volume(past: Bars, weeks: int, **_: object) -> Floats | None:
    """Return the usual log volume of each bar of the week in the last `weeks` weeks: (bars in a week,); else None."""
    seen = recent(past, weeks)
    return None if seen is None else usual(log_volume(seen), seen)


@feature(
    "seasonal_volume",
    group="seasonal",
    source="log volume - its mean at the time of week, learned from the months before",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) - 1,
    fit=fit_volume,
    memory=lambda p: BARS,
    windows=periods(1, 12, 48, low=1, high=288),
    weeks=number(WEEKS, 4, 104),
)
def seasonal_volume(bars: Bars, windows: tuple[int, ...], weeks: int, state: Floats | None) -> Columns:
    """Mean over the window of log volume minus what is usual for the time of week (half a year before the month)."""
    if state is None:
        return {("volume_season", window): np.full(len(bars), np.nan) for window in windows}
    away = log_volume(bars) - state[bar_of_week(bars)]
    return {("volume_season", window): rolling_mean(away, window) for window in windows}
