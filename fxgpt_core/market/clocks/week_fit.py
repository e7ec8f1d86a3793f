"""How well clocks explain when the weeks of naive stamps open and close (SPEC 21).

The FX week opens Sunday and closes Friday 17:00 New York wherever it is recorded, so stamps betray their clock at every
weekend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.clocks.time_zones import Zone
from fxgpt_core.market.zones import Times

_HOUR = np.timedelta64(3_600_000_000_000, "ns")
_WEEK = 120 * _HOUR
_WEEKEND = (30 * _HOUR, 96 * _HOUR)  # a shorter break is a holiday, a longer one a hole in the data
EARLIEST, LATEST = -5 / 60, 0.49  # hours: clocks differ by whole hours, a week's first and last bars by minutes
_STUB = 0.01  # share of the usual tick count below which a bar beside the weekend is what trickles in after the close


@dataclass(frozen=True)
class Bars:
    """Naive stamps of bar opens, ascending and distinct: (bars,); with their volume, high and low where known."""

    local: Times
    length: Timeframe
    volume: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None

    def between(self, first: int, last: int) -> Bars:
        """Return the bars [first, last)."""
        cut = slice(first, last)
        rest = (None if values is None else values[cut] for values in (self.volume, self.high, self.low))
        return Bars(self.local[cut], self.length, *rest)


@dataclass(frozen=True)
class Weeks:
    """The weeks of some bars: the first stamp and the end of the last bar of each, naive; NaT at the data's own ends.

    `first` and `last`: (weeks,) datetime64[ns]; `starts`: (weeks,) index of the week's first bar. `no_sunday` and
    `no_saturday` say that no bar at all lies on that day of the stamps' own clock.
    """

    first: Times
    last: Times
    starts: NDArray[np.int64]
    length: Timeframe
    no_sunday: bool
    no_saturday: bool

    @property
    def edges(self) -> int:
        """How many weekly opens and closes the data show."""
        return int((~np.isnat(self.first)).sum() + (~np.isnat(self.last)).sum())

    def between(self, first: int, last: int) -> Weeks:
        """Return the weeks [first, last)."""
        return replace(self, first=self.first[first:last], last=self.last[first:last], starts=self.starts[first:last])


def find_weeks(bars: Bars) -> Weeks:
    """Return the weeks that weekends cut the bars into; bars with next to no ticks beside a weekend are left out."""
    local = bars.local
    gaps = np.diff(local)
    breaks = np.flatnonzero(gaps > _WEEKEND[0])
    breaks = breaks[_spans_saturday(local[breaks] + bars.length.duration, local[breaks + 1])]
    missing, stubs = np.datetime64("NaT", "ns"), _stubs(bars)
    first, last = np.r_[local[:1], local[breaks + 1]], np.r_[local[breaks], local[-1:]] + bars.length.duration
    for index, at in enumerate(breaks):
        if gaps[at] > _WEEKEND[1]:
            last[index] = first[index + 1] = missing
            continue
        before, after = at, at + 1
        while before > 0 and stubs[before] and gaps[before - 1] == bars.length.duration:
            before -= 1
        while after < len(local) - 1 and stubs[after] and gaps[after] == bars.length.duration:
            after += 1
        if at - before <= 2 and after - at - 1 <= 2:
            last[index], first[index + 1] = local[before] + bars.length.duration, local[after]
    first[0] = last[-1] = missing
    weekday = np.unique((np.unique(local.astype("datetime64[D]")).astype(np.int64) + 3) % 7)
    starts = np.r_[0, breaks + 1].astype(np.int64)
    return Weeks(first, last, starts, bars.length, bool(6 not in weekday), bool(5 not in weekday))


def _spans_saturday(start: Times, end: Times) -> NDArray[np.bool_]:
    """Return which breaks cover Saturday afternoon, which the weekend does by any clock; others are holidays."""
    noon = start.astype("datetime64[D]")
    noon = noon + (5 - (noon.astype(np.int64) + 3) % 7)  # the Saturday of the week that runs from Monday
    noon = noon.astype("datetime64[ns]") + 12 * _HOUR
    return np.asarray((start <= noon) & (end >= noon + 12 * _HOUR))


def _stubs(bars: Bars) -> NDArray[np.bool_]:
    """Return which bars have next to no ticks: (bars,); none where the ticks are unknown or few anyway."""
    if bars.volume is None or not np.isfinite(bars.volume).any():
        return np.zeros(len(bars.local), dtype=bool)
    usual = float(np.nanmedian(bars.volume))
    return np.asarray(bars.volume < (_STUB * usual if usual >= 100 else 0.0))


@dataclass(frozen=True)
class Fit:
    """How the weeks of the stamps lie to the FX week, per clock.

    `late` and `early`: (zones, weeks) hours by which a week opens after and closes before 17:00 New York; NaN where the
    data do not show it. `late_clipped`, `early_clipped`: where the venue's habit of leaving out its own Sunday or
    Saturday hides when the week opens or closes.
    """

    late: NDArray[np.float64]
    early: NDArray[np.float64]
    late_clipped: NDArray[np.bool_]
    early_clipped: NDArray[np.bool_]

    @property
    def opened(self) -> NDArray[np.bool_]:
        """Where the week opens on time: (zones, weeks)."""
        return np.asarray((self.late >= EARLIEST) & (self.late <= LATEST))

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Where the week closes on time: (zones, weeks)."""
        return np.asarray((self.early >= EARLIEST) & (self.early <= LATEST))

    @property
    def overhang(self) -> NDArray[np.bool_]:
        """Where bars lie outside the week: (zones, weeks)."""
        return np.asarray((self.late < EARLIEST) | (self.early < EARLIEST))

    @property
    def open_misfit(self) -> NDArray[np.float64]:
        """What speaks against a clock at each open: 1, or 2 where whole hours of bars lie outside the week."""
        return _misfit(self.late, self.opened | self.late_clipped)

    @property
    def close_misfit(self) -> NDArray[np.float64]:
        """What speaks against a clock at each close: 1, or 2 where whole hours of bars lie outside the week."""
        return _misfit(self.early, self.closed | self.early_clipped)

    def between(self, first: int, last: int) -> Fit:
        """Return the fit of the weeks [first, last)."""
        cut = slice(first, last)
        clipped = self.late_clipped[:, cut], self.early_clipped[:, cut]
        return Fit(self.late[:, cut], self.early[:, cut], *clipped)


def _misfit(hours: NDArray[np.float64], fits: NDArray[np.bool_]) -> NDArray[np.float64]:
    whole = (hours < -0.5) & (np.abs(hours - np.round(hours)) < 0.1)
    return np.where(np.isnan(hours) | fits, 0.0, np.where(whole, 2.0, 1.0))


def fit_weeks(weeks: Weeks, zones: Sequence[Zone]) -> Fit:
    """Return how late and early every week is if the stamps were in each of `zones`."""
    late = np.full((len(zones), len(weeks.first)), np.nan)
    early = late.copy()
    opens, closes = np.flatnonzero(~np.isnat(weeks.first)), np.flatnonzero(~np.isnat(weeks.last))
    for row, zone in enumerate(zones):
        opened = _nearest_open(zone.to_utc(weeks.first[opens]))
        late[row, opens] = (weeks.first[opens] - _grid(zone.to_local(opened), weeks.length)) / _HOUR
        closed = _nearest_open(zone.to_utc(weeks.last[closes]) - _WEEK) + _WEEK
        early[row, closes] = (_grid(zone.to_local(closed), weeks.length, up=True) - weeks.last[closes]) / _HOUR
    return Fit(
        late,
        early,
        weeks.no_sunday & _midnight(weeks.first, 0) & (late > LATEST) & (late <= 12),
        weeks.no_saturday & _midnight(weeks.last, 5) & (early > LATEST) & (early <= 12),
    )


def _midnight(times: Times, weekday: int) -> NDArray[np.bool_]:
    """Return which wall-clock times are midnight at the start of a weekday (0 is Monday)."""
    day = times.astype("datetime64[D]")
    return np.asarray(~np.isnat(times) & (times == day) & ((day.astype(np.int64) + 3) % 7 == weekday))


def _nearest_open(times: Times) -> Times:
    half = 84 * _HOUR
    return calendar.week_open(times + half)


def _grid(local: Times, length: Timeframe, up: bool = False) -> Times:
    """Return the start (or end) of the bar that holds each wall-clock time, on a grid from the clock's own midnight."""
    midnight = local.astype("datetime64[D]").astype("datetime64[ns]")
    step = min(length.duration, 24 * _HOUR)
    bars = (local - midnight) / step
    whole = (np.ceil(bars - 1e-9) if up else np.floor(bars + 1e-9)).astype(np.int64)
    return np.asarray(midnight + whole * step)
