"""How much of each trading day is there: expected and present bars by New York session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.market_hours import MarketHours


@dataclass(frozen=True)
class DailyCoverage:
    """One entry a calendar day from the first to the last bar: `days` (days,) datetime64[D], named by the New York
    session that closes on it; `expected` and `present` (days,) bars of that session.

    Bars in hours in which none is expected count as present too, so `present` may exceed `expected`. Nothing is
    expected on weekends and holidays; on the first and the last day only what lies inside the data.
    """

    days: NDArray[np.datetime64]
    expected: NDArray[np.int64]
    present: NDArray[np.int64]
    missing: NDArray[np.int64]

    @property
    def weekend(self) -> NDArray[np.bool_]:
        """Whether a day is a Saturday or a Sunday, on which no session closes: (days,)."""
        return np.asarray(~np.is_busday(self.days))

    @property
    def holiday(self) -> NDArray[np.bool_]:
        """Whether a day's whole session is shut though it is a weekday: (days,)."""
        return np.asarray(np.is_busday(self.days) & (self.expected == 0))

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of the expected bars that are there, NaN where none is expected: (days,)."""
        return np.asarray(np.where(self.expected > 0, 1 - self.missing / np.maximum(self.expected, 1), np.nan))


def daily_coverage(opens: NDArray[np.datetime64], bar: str | Timeframe, hours: MarketHours) -> DailyCoverage:
    """Count bars by day; `opens`: (bars,) datetime64[ns], UTC, ascending, all of them on the grid of `bar`.

    Raises DataError without bars and for bars longer than a day.
    """
    length = timeframe(bar)
    if not len(opens) or length.minutes > 1440:
        raise DataError(f"Coverage by day needs bars of at most a day, not {len(opens)} bars of {length}.")
    grid = hours.expected_opens(opens[0], opens[-1] + length.duration, length)
    here = _session(opens, length)
    days = np.arange(here[0], here[-1] + 1)
    absent = grid[~np.isin(grid, opens, assume_unique=True)]
    expected, present, missing = (_count(_session(times, length), days) for times in (grid, opens, absent))
    return DailyCoverage(days, expected, present, missing)


def _session(opens: NDArray[np.datetime64], length: Timeframe) -> NDArray[np.datetime64]:
    """Return the day of each bar: that of its open, or of its end where it begins before the week opens."""
    end = opens + length.duration - np.timedelta64(1, "ns")
    return np.where(calendar.is_open(opens), calendar.session_day(opens), calendar.session_day(end))


def _count(sessions: NDArray[np.datetime64], days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return np.bincount((sessions - days[0]).astype(np.int64), minlength=len(days))[: len(days)].astype(np.int64)
