"""What is usual at each time of the trading week, learned from the bars of the weeks before.

A profile is a mean per bucket of the week (30 minutes, or a bar where bars are longer) by New York trading time, each
bucket shrunk to its time of day and that to the overall mean, as the yardstick's shape is (`seasonality`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.seasonality import WEEK, trading_position
from fxgpt_core.market.calendar import week_open

BARS, WEEKS = 37_440, 26
"""A profile is learned from at most this many bars, and of those from at most this many weeks: half a year of 5m."""

FEWEST_WEEKS = 2
"""Weeks of bars without which nothing is learned."""

SHRINK_WEEKS = 4.0
"""Weight, in weeks, of the coarser mean in each bucket."""

BUCKET_MINUTES = 30
"""Width of a bucket of the week; a bar where bars are longer."""


def recent(past: Bars, weeks: int) -> Bars | None:
    """Return the bars of the last `weeks` weeks of `past`, None where they are fewer than `FEWEST_WEEKS` hold."""
    return past.once(("recent", weeks), lambda: _recent(past, weeks))


def _recent(past: Bars, weeks: int) -> Bars | None:
    if not len(past):
        return None
    since = past.known_at[-1] - weeks * np.timedelta64(7, "D")
    kept = past.part(slice(int(np.searchsorted(past.known_at, since, side="right")), len(past)))
    return kept if len(kept) * past.timeframe.minutes >= FEWEST_WEEKS * WEEK else None


def bars_in_week(bar_minutes: int) -> int:
    """Return how many bars a trading week holds: 7200 minutes, at least one bar."""
    return max(WEEK // bar_minutes, 1)


def bar_of_week(bars: Bars) -> NDArray[np.int64]:
    """Return the number of each bar within its trading week, by New York trading time: (bars,), 0 after the opening."""
    return bars.once(("bar_of_week",), lambda: _bar_of_week(bars))


def _bar_of_week(bars: Bars) -> NDArray[np.int64]:
    minutes = bars.timeframe.minutes
    middle = trading_position(bars.known_at) - minutes / 2
    return np.asarray(np.floor(middle / minutes).astype(np.int64) % bars_in_week(minutes))


def usual(values: Floats, bars: Bars) -> Floats | None:
    """Return the shrunk mean of `values`, (bars,), for each bar of the week: (bars in a week,); None without values.

    Bars of one bucket share a mean; values that are NaN are left out.
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    minutes = bars.timeframe.minutes
    together = max(BUCKET_MINUTES // minutes, 1)  # bars in a bucket
    count = bars_in_week(minutes) // together
    bucket = bar_of_week(bars)[known] // together
    total = np.bincount(bucket, values[known], count)
    seen = np.bincount(bucket, minlength=count).astype(np.float64)
    per_day, weight = max(count // 5, 1), SHRINK_WEEKS * together  # in bars of a bucket
    by_day, seen_by_day = total.reshape(-1, per_day), seen.reshape(-1, per_day)  # (days, times of day)
    daily = (by_day.sum(axis=0) + weight * total.sum() / seen.sum()) / (seen_by_day.sum(axis=0) + weight)
    return np.repeat(((by_day + weight * daily) / (seen_by_day + weight)).ravel(), together)


def opens_week(bars: Bars) -> NDArray[np.bool_]:
    """Return whether a bar is the first of its trading week among the bars given; the very first is not: (bars,)."""
    week = week_open(bars.ts_utc)
    return np.concatenate([np.zeros(min(1, len(week)), dtype=bool), week[1:] != week[:-1]])
