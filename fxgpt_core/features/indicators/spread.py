"""What trading costs: the quoted spread against what is usual, NaN throughout where the venue gives none, and an
estimate of the spread from highs and lows."""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean
from fxgpt_core.features.time_of_week import BARS, WEEKS, bar_of_week, recent, usual

_CORWIN_SCHULTZ = 3 - 2 * math.sqrt(2)


def log_spread(bars: Bars) -> Floats:
    """Return the log of (spread / close + 1e-6), NaN where there is none: (bars,)."""
    return np.asarray(np.log(np.maximum(bars.spread, 0.0) / bars.close + FLOOR))


@feature(
    "relative_spread",
    group="volume",
    source="log spread - its rolling mean; against ranges",
    windowed=True,
    warm_up=lambda p: max(*p["windows"], p["ranges"]) - 1,
    windows=periods(6, 96, low=2, high=288),
    ranges=number(24, 1, 288),
)
def relative_spread(bars: Bars, windows: tuple[int, ...], ranges: int) -> Columns:
    """Log of spread / close minus its mean over the window; `spread_cost`: that log minus the log of mean log range.

    Spread and range are at least 1e-6 of the price in logs. NaN where the venue gives no spread.
    """
    logs = log_spread(bars)
    out: dict[tuple[str, int], Floats] = {
        ("spread_rel", window): logs - rolling_mean(logs, window) for window in windows
    }
    moved = np.log(np.maximum(rolling_mean(bars.log_range, ranges), FLOOR))
    out[("spread_cost", ranges)] = logs - moved
    return out


@feature(
    "spread_from_range",
    group="volume",
    source="Corwin & Schultz 2012, eq. 14 and 18",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(48, 4, 288),
)
def spread_from_range(bars: Bars, window: int) -> Columns:
    """Mean over the window of the spread that pairs of bars imply by their highs and lows / mean log range; 0..2.

    Negative estimates count as 0, as the paper advises; so does a window without a range.
    """
    beta = np.square(bars.log_range) + np.square(shifted(bars.log_range, 1))
    both = np.log(np.maximum(bars.high, shifted(bars.high, 1)) / np.minimum(bars.low, shifted(bars.low, 1)))
    alpha = (math.sqrt(2) - 1) * np.sqrt(beta) / _CORWIN_SCHULTZ - both / math.sqrt(_CORWIN_SCHULTZ)
    implied = np.maximum(2 * np.tanh(alpha / 2), 0.0)  # 2 (e^a - 1) / (1 + e^a)
    moved = rolling_mean(bars.log_range, window)
    still = moved <= FLOOR
    ratio = rolling_mean(implied, window) / np.where(still, 1.0, moved)
    return {("spread_range", window): np.where(np.isnan(ratio), np.nan, np.where(still, 0.0, np.minimum(ratio, 2.0)))}


def fit_spread(past: Bars, weeks: int, **_: object) -> Floats | None:
    """Return the usual log spread of each bar of the week in the last `weeks` weeks: (bars in a week,); else None."""
    seen = recent(past, weeks)
    return None if seen is None else usual(log_spread(seen), seen)


@feature(
    "seasonal_spread",
    group="seasonal",
    source="log spread - its mean at the time of week, learned from the months before",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) - 1,
    fit=fit_spread,
    memory=lambda p: BARS,
    windows=periods(1, 24, low=1, high=288),
    weeks=number(WEEKS, 4, 104),
)
def seasonal_spread(bars: Bars, windows: tuple[int, ...], weeks: int, state: Floats | None) -> Columns:
    """Mean over the window of log spread / close minus what is usual for the time of week; NaN without spreads."""
    if state is None:
        return {("spread_season", window): np.full(len(bars), np.nan) for window in windows}
    away = log_spread(bars) - state[bar_of_week(bars)]
    return {("spread_season", window): rolling_mean(away, window) for window in windows}
