"""The FX week, bar grids, trading time and sessions (SPEC 1, DESIGN "Time").

The market is open from Sunday 17:00 to Friday 17:00 New York time. US clocks change on Sundays at 02:00, while the
market is closed, so within a week the offset to UTC is constant and a week is exactly 120 hours: one sorted list of
week opens answers every question by binary search.

This module is the weekly rule alone: targets and horizons count its trading time, so that a horizon means the same on
every venue and no list of holidays can move a label. Holidays and early closes, which differ from venue to venue, are
`market_hours`: they say which bars to expect. `sessions` names the financial centres at work.

All functions take and give datetime64[ns] arrays that mean UTC and work on any shape.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market.zones import to_local

NEW_YORK = "America/New_York"
WEEK_MINUTES = 7200

Times = NDArray[np.datetime64]
_MINUTE = np.timedelta64(60_000_000_000, "ns")
_WEEK = WEEK_MINUTES * _MINUTE


@lru_cache(maxsize=1)
def week_opens() -> Times:
    """Return every week open (Sunday 17:00 New York) from 1970 to 2100 in UTC: (weeks,) datetime64[ns]."""
    zone = ZoneInfo(NEW_YORK)
    sunday, opens = datetime(1970, 1, 4, 17, tzinfo=zone), []
    while sunday.year <= 2100:
        opens.append(sunday.astimezone(UTC).replace(tzinfo=None))
        sunday += timedelta(days=7)  # wall-clock arithmetic: 17:00 stays 17:00 across clock changes
    return np.array(opens, dtype="datetime64[ns]")


def _times(values: Any) -> Times:
    return np.asarray(values, dtype="datetime64[ns]")


def _week(times: Times) -> NDArray[np.int64]:
    opens = week_opens()
    index = np.searchsorted(opens, times, side="right") - 1
    outside = (index < 0) | (times >= opens[-1]) | np.isnat(times)
    if np.any(outside):
        raise DataError(f"Time {times[outside].min() if times.ndim else times} is outside the FX calendar (1970-2100).")
    return np.asarray(index, dtype=np.int64)


def week_open(times: Any) -> Times:
    """Return the last week open at or before each time; on a weekend that of the week just ended."""
    at = _times(times)
    return np.asarray(week_opens()[_week(at)])


def week_close(times: Any) -> Times:
    """Return the close (Friday 17:00 New York) of the week of `week_open`; on a weekend it lies in the past."""
    return np.asarray(week_open(times) + _WEEK)


def is_open(times: Any) -> NDArray[np.bool_]:
    """Return whether the market is open at each time; the open counts as open, the close as closed."""
    at = _times(times)
    return np.asarray(at - week_open(at) < _WEEK)


def bar_open(times: Any, bar: str | Timeframe) -> Times:
    """Return the open of the bar that contains each time.

    Bars shorter than 4h start at multiples of their length from UTC midnight, longer ones from the week's open, so that
    daily bars run from 17:00 to 17:00 New York. Outside market hours the grid of the week just ended goes on.
    """
    frame, at = timeframe(bar), _times(times)
    anchor = week_open(at) if frame.new_york_aligned else np.datetime64(0, "ns")
    elapsed = (at - anchor).astype(np.int64)
    length = int(frame.duration.astype(np.int64))
    return np.asarray(anchor + (elapsed // length * length).astype("timedelta64[ns]"))


def holds_trading(opens: Any, bar: str | Timeframe) -> NDArray[np.bool_]:
    """Return whether any part of the bars that start at `opens` lies in market hours."""
    at = _times(opens)
    last = at + timeframe(bar).duration - np.timedelta64(1, "ns")
    return np.asarray(is_open(at) | is_open(last))


def bar_opens(start: np.datetime64, end: np.datetime64, bar: str | Timeframe) -> Times:
    """Return the opens in [start, end) of all bars that hold trading time, ascending: (bars,)."""
    frame = timeframe(bar)
    first, last = _times(start), _times(end)
    if first >= last:
        return np.empty(0, dtype="datetime64[ns]")
    grid: Times
    if not frame.new_york_aligned:
        grid = np.arange(bar_open(first, frame), last, frame.duration)
    else:
        weeks = week_opens()[int(_week(first)) : int(np.searchsorted(week_opens(), last))]
        grid = (weeks[:, None] + np.arange(WEEK_MINUTES // frame.minutes) * frame.duration).ravel()
    grid = grid[(grid >= first) & (grid < last)]
    return np.asarray(grid[holds_trading(grid, frame)])


def _trading_clock(times: Times) -> NDArray[np.int64]:
    """Return the nanoseconds of open market since the first week open: the clock that stands still on weekends."""
    week = _week(times)
    elapsed = np.minimum(times - week_opens()[week], _WEEK)
    return np.asarray(week * int(_WEEK.astype(np.int64)) + elapsed.astype(np.int64))


def trading_minutes_between(start: Any, end: Any) -> NDArray[np.float64]:
    """Return the minutes of open market between two times, negative when `end` is earlier; broadcasts."""
    return np.asarray((_trading_clock(_times(end)) - _trading_clock(_times(start))) / 60e9)


def add_trading_time(times: Any, minutes: Any) -> Times:
    """Return the times after `minutes` of open market: the rule for horizons that cross a weekend.

    The clock stands still while the market is closed: Friday 16:30 New York plus one hour is Sunday 17:30. A span that
    ends exactly with the week ends at Friday's close, not at Sunday's open: the earliest instant at which the time
    has passed. Negative minutes go back, to the latest instant from which that time passes until `times`; zero
    changes nothing. Broadcasts.
    """
    at, by = np.broadcast_arrays(_times(times), np.asarray(minutes))
    length = int(_WEEK.astype(np.int64))
    clock = _trading_clock(at) + np.round(by * 60e9).astype(np.int64)
    week, rest = np.divmod(clock, length)
    at_close = (rest == 0) & (by > 0)
    week, rest = np.where(at_close, week - 1, week), np.where(at_close, length, rest)
    if np.any((week < 0) | (week >= len(week_opens()))):
        raise DataError("Trading time leads outside the FX calendar (1970-2100).")
    return np.asarray(np.where(by == 0, at, week_opens()[week] + rest.astype("timedelta64[ns]")))


def minutes_to_week_close(times: Any) -> NDArray[np.float64]:
    """Return the minutes until the week closes, 0 while the market is closed."""
    at = _times(times)
    return np.asarray(np.maximum((week_close(at) - at) / _MINUTE, 0.0))


def hour_of_week(times: Any) -> NDArray[np.int64]:
    """Return whole hours since the week opened: 0 is Sunday 17:00-18:00 New York, 119 the last open hour."""
    at = _times(times)
    return np.asarray((at - week_open(at)).astype(np.int64) // 3_600_000_000_000)


def session_day(times: Any) -> NDArray[np.datetime64]:
    """Return the New York session of each time, named by the day on which it closes: datetime64[D].

    A session runs from 17:00 to 17:00 New York, so Sunday evening belongs to Monday. Outside market hours the name goes
    on by the clock: Friday evening is Saturday.
    """
    return np.asarray((to_local(_times(times), NEW_YORK) + np.timedelta64(7, "h")).astype("datetime64[D]"))
