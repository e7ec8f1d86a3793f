"""Overnight interest: which nights are charged at 17:00 New York, and how much (SPEC 11, 20).

A position held through 17:00 New York moves to the next value date and pays or earns the days between the two. Value
dates lie `4 - triple_swap_day` business days after the trade: two for a pair whose triple day is Wednesday (a trade of
Wednesday settles on Friday, one of Thursday on Monday: three days), one for Thursday. Holidays are the sessions that
`market_hours.yaml` shuts for the whole day: they are no value dates, and their nights are charged at the rollover
before. Nights of consecutive rollovers add up to calendar days, whatever the holidays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.calendar import NEW_YORK
from fxgpt_core.market.instrument_config import InstrumentsConfig
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.market.market_hours import MarketHours
from fxgpt_core.market.zones import to_local, to_utc

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
_DAY = np.timedelta64(1, "D")
_AT = np.timedelta64(17, "h")
_YEAR_DAYS = 360.0
_SETTLEMENT_SPAN = 4


@dataclass(frozen=True)
class Rollovers:
    """The rollovers of one pair: `at` (rollovers,) UTC instants, ascending; `nights` (rollovers,) days charged."""

    at: Times
    nights: NDArray[np.int64]

    def between(self, after: Times, until: Times) -> NDArray[np.int64]:
        """Return the nights of all rollovers in (after, until]: same shape as the two."""
        total = np.r_[0, np.cumsum(self.nights)]
        first = np.searchsorted(self.at, after, side="right")
        last = np.searchsorted(self.at, until, side="right")
        return np.asarray(total[last] - total[first])


def rollovers(pair: Instrument, start: np.datetime64, end: np.datetime64, hours: MarketHours) -> Rollovers:
    """Return the rollovers of `pair` in [start, end] (UTC): one at the end of every session that trades."""
    first = np.datetime64(to_local(np.array([start], dtype="datetime64[ns]"), NEW_YORK)[0], "D") - 7 * _DAY
    last = np.datetime64(to_local(np.array([end], dtype="datetime64[ns]"), NEW_YORK)[0], "D") + 14 * _DAY
    calendar = np.busdaycalendar(holidays=hours.closed_days(first, last + 14 * _DAY))
    days = np.arange(first, last)
    sessions = days[np.is_busday(days, busdaycal=calendar)]
    value = np.busday_offset(sessions, _SETTLEMENT_SPAN - pair.triple_swap_day, busdaycal=calendar)
    nights = np.diff(value).astype(np.int64)
    at = to_utc((sessions[:-1] + _AT).astype("datetime64[ns]"), NEW_YORK)
    inside = (at >= start) & (at <= end)
    return Rollovers(at[inside], nights[inside])


def swap_per_night(pair: Instrument, times: Times, price: Floats, config: InstrumentsConfig) -> tuple[Floats, Floats]:
    """Return what a long and a short position of one unit of the base currency are credited per night.

    `times`: (bars,) UTC; `price`: (bars,) or (). In quote currency; negative is paid. The broker's swap points where
    `instruments.yaml` has them, else the difference of the two interest rates less the markup; a currency without
    rates earns and costs nothing, the markup stays.
    """
    entry = config.instruments.get(pair.symbol)
    days = to_local(times, NEW_YORK).astype("datetime64[D]")
    if entry is not None and entry.swaps:
        since = [swap.since for swap in entry.swaps]
        long = _steps(days, since, [swap.long for swap in entry.swaps])
        short = _steps(days, since, [swap.short for swap in entry.swaps])
        return long * pair.point, short * pair.point
    rates = [config.interest.rates.get(currency, {}) for currency in (pair.base, pair.quote)]
    base, quote = (_steps(days, list(steps), list(steps.values())) for steps in rates)
    night = price / 100 / _YEAR_DAYS
    return (base - quote - config.interest.markup) * night, (quote - base - config.interest.markup) * night


def _steps(days: NDArray[np.datetime64], since: list[date], values: list[float]) -> Floats:
    """Return the value in force on each day; before the first step the first one: (days,)."""
    if not values:
        return np.zeros(days.shape)
    index = np.searchsorted(np.array(since, dtype="datetime64[D]"), days, side="right") - 1
    return np.asarray(np.array(values)[np.maximum(index, 0)], dtype=np.float64)
