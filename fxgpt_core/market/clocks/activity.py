"""The rhythm of the trading day as a clock: it tells whole hours where a venue's weeks open late or close early.

Two witnesses. Venues pause for minutes at the daily rollover, 17:00 New York. And the hourly range follows New York and
London hours so closely that over some months no other hour fits: on eight pairs and five venues between 2007 and 2020
the best of nine shifts was the right one in every stretch of 120 days, by 0.017 of correlation at the least, and a
wrong one never led by more than 0.07 in any 60 days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.calendar import NEW_YORK
from fxgpt_core.market.clocks.time_zones import Zone
from fxgpt_core.market.clocks.week_fit import Bars
from fxgpt_core.market.zones import Times, to_local

_HOUR = np.timedelta64(3_600_000_000_000, "ns")
_MINUTE = np.timedelta64(60_000_000_000, "ns")
# Median log range by New York hour from midnight, about its mean: EURUSD GBPUSD USDJPY AUDUSD USDCAD EURGBP EURJPY.
_USUAL = np.array(
    [-0.46, -0.28, 0.20, 0.40, 0.33, 0.19, 0.16, 0.20, 0.43, 0.45, 0.60, 0.36, 0.09, -0.03, -0.07, -0.22, -0.37, -0.27,
     -0.48, -0.29, -0.03, -0.13, -0.30, -0.47]
)  # fmt: skip
_SHIFTS = range(-4, 5)
_MIN_DAYS = 60
_MARGIN = 0.03
_LIKENESS = 0.7
_ROLLOVER_SHARE, _ROLLOVER_DAYS = 0.6, 5


def agrees(bars: Bars, zone: Zone) -> tuple[bool | None, str]:
    """Return whether the day's rhythm fits the bars read in `zone`, and what shows it; None where nothing does."""
    pause = _rollover(bars, zone)
    if pause is not None:
        return pause, "the daily pause falls on 17:00 New York"
    shift = rhythm_shift(bars, zone)
    if shift is not None:
        return shift == 0, "the hourly rhythm of ranges fits no other hour"
    return None, ""


def rhythm_shift(bars: Bars, zone: Zone) -> int | None:
    """Return by how many hours the hourly ranges lie after the usual rhythm if read in `zone`; None where unclear.

    Both halves of the bars must say the same, of at least 60 days from Monday to Thursday.
    """
    if bars.high is None or bars.low is None or bars.length.minutes > 60:
        return None
    hours, ranges = _hourly(bars)
    wall = to_local(zone.to_utc(hours), NEW_YORK)
    days = wall.astype("datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7  # 0 is Monday
    used = (weekday < 4) & np.isfinite(ranges)
    wall, days, ranges = wall[used], days[used], ranges[used]
    distinct = np.unique(days)
    if len(distinct) < _MIN_DAYS:
        return None
    middle = distinct[len(distinct) // 2]
    found = {_best_shift(wall[part], ranges[part]) for part in (days >= distinct[0], days < middle, days >= middle)}
    return found.pop() if len(found) == 1 else None


def _hourly(bars: Bars) -> tuple[Times, NDArray[np.float64]]:
    """Return the wall-clock hours that have bars and the log range of each: (hours,)."""
    hour = bars.local.astype("datetime64[h]").astype("datetime64[ns]")
    starts = np.flatnonzero(np.r_[True, hour[1:] != hour[:-1]])
    assert bars.high is not None
    assert bars.low is not None
    high, low = np.fmax.reduceat(bars.high, starts), np.fmin.reduceat(bars.low, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hour[starts], np.log(np.where((high > low) & (low > 0), high / low - 1, np.nan))


def _best_shift(wall: Times, ranges: NDArray[np.float64]) -> int | None:
    hour = wall.astype("datetime64[h]").astype(np.int64) % 24
    profile = np.array([np.median(ranges[hour == h]) if (hour == h).sum() >= 5 else np.nan for h in range(24)])
    known = np.isfinite(profile)
    if known.sum() < 20:
        return None
    likeness = np.array([_correlation(profile, np.roll(_USUAL, shift)) for shift in _SHIFTS])
    order = np.argsort(likeness)
    clear = likeness[order[-1]] >= _LIKENESS and likeness[order[-1]] - likeness[order[-2]] >= _MARGIN
    return _SHIFTS[order[-1]] if clear else None


def _correlation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    known = np.isfinite(left)
    return float(np.corrcoef(left[known], right[known])[0, 1])


def _rollover(bars: Bars, zone: Zone) -> bool | None:
    """Return whether the pause that recurs at one time of day touches 17:00 New York; None without such a pause."""
    if bars.length.minutes > 15:
        return None
    gaps = np.diff(bars.local)
    at = np.flatnonzero((gaps > bars.length.duration) & (gaps < 3 * _HOUR))
    wall = to_local(zone.to_utc(bars.local), NEW_YORK)
    days = len(np.unique(wall.astype("datetime64[D]")))
    if days < _ROLLOVER_DAYS or not len(at):
        return None
    start = wall[at] + bars.length.duration
    day = start.astype("datetime64[D]")
    minute = ((start - day.astype("datetime64[ns]")) / _MINUTE).astype(np.int64)
    length = (gaps[at] / _MINUTE).astype(np.int64) - bars.length.minutes
    buckets, counts = np.unique(minute // 15, return_counts=True)
    # Recurring: on most evenings from Monday to Thursday, four of the five sessions that a week's days count.
    often = buckets[counts >= _ROLLOVER_SHARE * days * 4 / 6]
    if len(often) != 1:
        return None  # thin minutes all over the night, or no pause
    chosen = minute // 15 == often[0]
    first, last = np.median(minute[chosen]), np.median((minute + length)[chosen])
    return bool(first <= 17 * 60 + 5 and last >= 17 * 60 - 5)
