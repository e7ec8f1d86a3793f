"""`MarketHours`: which bars to expect, the FX week less holidays, early closes and late opens.

The rules are data (`configs/market_hours.yaml`, evidence in the file). They steer what counts as missing, which nights
cost swap and when backtests leave before the weekend; targets and horizons follow the weekly rule of `calendar` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.config import MarketHoursConfig, SessionRule, shipped_market_hours
from fxgpt_core.market.zones import to_utc

Times = NDArray[np.datetime64]
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_MINUTE = np.timedelta64(60_000_000_000, "ns")


@dataclass(frozen=True)
class EarlyClose:
    """A session that closes before 17:00 New York: its `day` (datetime64[D]) and the close in UTC."""

    day: np.datetime64
    closes: np.datetime64


@dataclass(frozen=True)
class MarketHours:
    """The hours in which a venue is expected to trade. All times are datetime64[ns] in UTC."""

    config: MarketHoursConfig

    @property
    def fingerprint(self) -> str:
        """Hash of the rules: a report made under other rules is stale."""
        return stable_hash(self.config.model_dump(mode="json"))

    def is_open(self, times: Any) -> NDArray[np.bool_]:
        """Return whether a venue is expected to trade at each time; a close counts as closed."""
        at = np.asarray(times, dtype="datetime64[ns]")
        starts, ends = self._closures
        index = np.searchsorted(starts, at, side="right") - 1
        shut = (index >= 0) & (at < ends[np.maximum(index, 0)]) if len(starts) else np.zeros(at.shape, dtype=bool)
        return np.asarray(calendar.is_open(at) & ~shut)

    def week_close(self, times: Any) -> Times:
        """Return when the week of each time stops trading: Friday 17:00 New York, or the start of the closure that
        lasts until then (an early close on Friday, or on the day before one that is shut).
        """
        weekly = calendar.week_close(times)
        starts, ends = self._closures
        if not len(starts):
            return weekly
        index = np.searchsorted(ends, weekly)
        here = np.minimum(index, len(ends) - 1)
        cut = (index < len(ends)) & (starts[here] < weekly)
        return np.asarray(np.where(cut, starts[here], weekly))

    def trading_minutes_between(self, start: Any, end: Any) -> NDArray[np.float64]:
        """Return the minutes of expected trading between two times, negative when `end` is earlier; broadcasts."""
        first, last = np.asarray(start, dtype="datetime64[ns]"), np.asarray(end, dtype="datetime64[ns]")
        weekly = calendar.trading_minutes_between(first, last)
        return np.asarray(weekly - (self._shut_before(last) - self._shut_before(first)) / 60e9)

    def expected_opens(self, start: np.datetime64, end: np.datetime64, bar: str | Timeframe) -> Times:
        """Return the opens in [start, end) of all bars that hold expected trading time, ascending: (bars,)."""
        opens = calendar.bar_opens(start, end, bar)
        return np.asarray(opens[self.holds_trading(opens, bar)])

    def expected_bars(self, start: np.datetime64, end: np.datetime64, bar: str | Timeframe) -> int:
        """Return how many bars that open in [start, end) hold expected trading time."""
        return len(self.expected_opens(start, end, bar))

    def holds_trading(self, opens: Any, bar: str | Timeframe) -> NDArray[np.bool_]:
        """Return whether bars that start at `opens` hold any expected trading time."""
        at = np.asarray(opens, dtype="datetime64[ns]")
        return np.asarray(self.trading_minutes_between(at, at + timeframe(bar).duration) > 0)

    def closed_days(self, start: np.datetime64, end: np.datetime64) -> NDArray[np.datetime64]:
        """Return the weekdays in [start, end) whose whole session is shut: (days,) datetime64[D]."""
        days = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D"))
        days = days[np.is_busday(days)]
        return np.asarray(days[self._session_minutes(days) == 0])

    def early_closes(self, start: np.datetime64, end: np.datetime64) -> list[EarlyClose]:
        """Return the sessions in [start, end) (days) that trade but close early, ascending."""
        days = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D"))
        starts, ends = self._closures
        closing = _new_york(days, "17:00")
        found = []
        for day, close in zip(days[np.is_busday(days)], closing[np.is_busday(days)], strict=True):
            index = int(np.searchsorted(ends, close))
            if index < len(ends) and starts[index] < close and self._session_minutes(np.array([day]))[0] > 0:
                found.append(EarlyClose(day, starts[index]))
        return found

    def _session_minutes(self, days: NDArray[np.datetime64]) -> NDArray[np.float64]:
        before = np.asarray(days - np.timedelta64(1, "D"))
        return self.trading_minutes_between(_new_york(before, "17:00"), _new_york(days, "17:00"))

    def _shut_before(self, times: Times) -> NDArray[np.float64]:
        """Return the nanoseconds of closures before each time: the clock that runs only in them."""
        starts, ends = self._closures
        if not len(starts):
            return np.zeros(times.shape)
        index = np.searchsorted(starts, times, side="right") - 1
        here = np.maximum(index, 0)
        within = np.minimum(times, ends[here]) - starts[here]
        total = self._closed_until[here] + within.astype(np.int64)
        return np.asarray(np.where(index < 0, 0, total), dtype=np.float64)

    @cached_property
    def _closed_until(self) -> NDArray[np.int64]:
        starts, ends = self._closures
        return np.concatenate([[0], np.cumsum((ends - starts).astype(np.int64))[:-1]])

    @cached_property
    def _closures(self) -> tuple[Times, Times]:
        """Return the closures inside the weekly hours as disjoint ascending spans: starts and ends, (spans,) each."""
        spans = sorted(span for rule in self.config.rules for span in _spans(rule))
        merged: list[list[np.datetime64]] = []
        for start, end in spans:
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        both = np.array(merged, dtype="datetime64[ns]").reshape(-1, 2)
        return both[:, 0], both[:, 1]


@lru_cache(maxsize=8)
def market_hours(config: MarketHoursConfig | None = None) -> MarketHours:
    """Return the hours of `config`, by default those that ship with the product; built once per configuration."""
    return MarketHours(config if config is not None else shipped_market_hours())


def easter_sunday(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms, chapter 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    (d, e), f = divmod(b, 4), (b + 8) // 25
    h = (19 * a + b - d - (b - f + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    shift = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * shift) // 451
    month, day = divmod(h + shift - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _spans(rule: SessionRule) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the closures of one rule in UTC, [start, end)."""
    days = [day for year in range(max(rule.since, _FIRST_YEAR), min(rule.until, _LAST_YEAR) + 1)
            for day in [_day(rule, year)] if day is not None]  # fmt: skip
    if not days:
        return []
    closing = np.array(days, dtype="datetime64[D]")
    before: Times = np.asarray(closing - np.timedelta64(1, "D"))
    start, end = _new_york(before, "17:00"), _new_york(closing, "17:00")
    if rule.closes is not None:
        start = _new_york(closing, rule.closes)
    elif rule.opens is not None:
        end = _new_york(before if rule.opens >= "17:00" else closing, rule.opens)
    return [(first, last) for first, last in zip(start, end, strict=True) if first < last]


def _day(rule: SessionRule, year: int) -> date | None:
    """Return the weekday on which a rule holds in a year, None where it does not."""
    if rule.easter is not None:
        day = easter_sunday(year) + timedelta(days=rule.easter)
    else:
        text = str(rule.date)
        if len(text) > 5:
            day = date.fromisoformat(text)
        elif text == "02-29" and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
            return None
        else:
            day = date.fromisoformat(f"{year}-{text}")
        if day.year != year:
            return None
    if day.weekday() < 5:
        return day
    if rule.weekend == "skip":
        return None
    if rule.weekend == "nearest" and day.weekday() == 5:
        return day - timedelta(days=1)
    return day + timedelta(days=7 - day.weekday())


def _new_york(days: NDArray[np.datetime64], clock: str) -> Times:
    hours, minutes = (int(part) for part in clock.split(":"))
    midnight: Times = np.asarray(days, dtype="datetime64[ns]")
    return to_utc(np.asarray(midnight + (hours * 60 + minutes) * _MINUTE, dtype="datetime64[ns]"), calendar.NEW_YORK)
