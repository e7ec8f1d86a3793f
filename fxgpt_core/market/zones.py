"""UTC offsets of time zones as step functions, so that converting half a million stamps is one binary search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
"""Span for which offsets are tabulated; before and after it the nearest offset holds."""


@dataclass(frozen=True)
class Offsets:
    """`starts`: (steps,) datetime64[ns] UTC instants from which `offsets` (steps,) timedelta64[ns] hold."""

    starts: Times
    offsets: NDArray[np.timedelta64]

    def at(self, times_utc: Times) -> NDArray[np.timedelta64]:
        """Return local minus UTC at UTC instants: (rows,) timedelta64[ns]."""
        index = np.clip(np.searchsorted(self.starts, times_utc, side="right") - 1, 0, None)
        return np.asarray(self.offsets[index])


@lru_cache(maxsize=32)
def offsets(zone: str) -> Offsets:
    """Return the offset steps of an IANA zone; raises zoneinfo.ZoneInfoNotFoundError for an unknown name."""
    info = ZoneInfo(zone)

    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(info).utcoffset() or timedelta(0)

    starts, values = [FIRST], [offset(FIRST)]
    moment = FIRST
    while moment < LAST:  # weekly probes: no zone changes twice within a week
        after = moment + timedelta(days=7)
        if offset(after) != values[-1]:
            low, high = moment, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if offset(middle) == values[-1] else (low, middle)
            starts.append(high.replace(microsecond=0))
            values.append(offset(after))
        moment = after
    return Offsets(
        np.array([s.replace(tzinfo=None) for s in starts], dtype="datetime64[ns]"),
        np.array([int(v.total_seconds()) for v in values], dtype="timedelta64[s]").astype("timedelta64[ns]"),
    )


def to_local(times_utc: Times, zone: str) -> Times:
    """Return wall-clock times (naive datetime64[ns]) in `zone` of UTC instants."""
    return np.asarray(times_utc + offsets(zone).at(times_utc))


def to_utc(local: Times, zone: str) -> Times:
    """Return UTC instants of wall-clock times in `zone`.

    An hour that happens twice is read as its first pass, an hour that a clock change skips as if the clock had not
    changed; both fall on a weekend, when the market is closed, in every zone that brokers use.
    """
    steps = offsets(zone)
    early = local - np.max(steps.offsets)  # the earliest instant that can have this wall clock
    guess = local - steps.at(early)
    again = local - steps.at(guess)
    # Two candidates at a change; the one that maps back to the wall clock is right, the earlier one if both do.
    first, second = np.minimum(guess, again), np.maximum(guess, again)
    return np.asarray(np.where(first + steps.at(first) == local, first, second))
