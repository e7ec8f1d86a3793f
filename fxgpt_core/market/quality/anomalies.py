"""Strange but possible bars: jumps, spikes and wicks, frozen prices, weeks whose stamps are off by whole hours.

Nothing here removes a row. Every function looks at the whole history, past and future: it judges data, never features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.market_hours import MarketHours
from fxgpt_core.market.sessions import sessions_at
from fxgpt_core.market.zones import to_local

Times = NDArray[np.datetime64]
Floats = NDArray[np.float64]
_WINDOW = 101  # bars of the local scale: a day or two of hours, a session of minutes
_MEAN_OVER_MEDIAN = 1.18  # mean / median of |x| for normal x
_HOUR, _DAY = np.timedelta64(3_600_000_000_000, "ns"), np.timedelta64(86_400_000_000_000, "ns")
_TOLERANCE = np.timedelta64(30, "m")
_MAX_SHIFT_HOURS = 12
_TICKING = 2.0  # ticks in a bar from which an unmoved price is no lack of trading


@dataclass(frozen=True)
class Outliers:
    """Bars with implausible moves, ascending: their `rows`, `kinds` (`jump`: the price stayed there; `spike`: the next
    bar took it back; `wick`: a high or low far from open and close) and `scales`: size in mean absolute moves around.
    """

    rows: NDArray[np.int64]
    kinds: NDArray[np.str_]
    scales: Floats

    def __len__(self) -> int:
        return len(self.rows)


def find_outliers(clean: pd.DataFrame, opens: Times, limit: float) -> Outliers:
    """Return the outliers of OHLC bars; `limit` in multiples of the usual absolute bar-to-bar log return.

    Usual is what is larger: the mean of the whole history, or that of the bars around (by their median, so that the
    outlier itself does not count). A burst of volatility therefore raises its own bar. A move that the next bar takes
    back is an error much more often than one that stays, and is reported from half the limit on. First bars of a week
    are left out: weekend gaps are moves.
    """
    if len(opens) < 3:
        empty = np.empty(0)
        return Outliers(empty.astype(np.int64), empty.astype("U5"), empty)
    opened, high, low, close = (np.log(clean[name].to_numpy(dtype=np.float64)) for name in _OHLC)
    move = np.r_[0.0, np.diff(close)]
    same_week = np.r_[False, calendar.week_open(opens[1:]) == calendar.week_open(opens[:-1])]
    move[~same_week] = 0.0
    size = np.abs(move)
    usual = _usual_move(size, same_week)
    ratio = size / usual
    back, back_ratio = np.r_[move[1:], 0.0], np.r_[ratio[1:], 0.0]
    spike = (np.abs(move + back) < 0.5 * size) & (np.minimum(ratio, back_ratio) > limit / 2)
    jump = (ratio > limit) & ~spike & ~np.r_[False, spike[:-1]]
    wick_size = np.maximum(high - np.maximum(opened, close), np.minimum(opened, close) - low) / usual
    wick = (wick_size > limit) & ~spike & ~jump
    rows = np.flatnonzero(spike | jump | wick)
    kinds = np.select([spike[rows], jump[rows]], ["spike", "jump"], "wick")
    return Outliers(rows, np.asarray(kinds, dtype="U5"), np.where(wick, wick_size, ratio)[rows])


_OHLC = ("open", "high", "low", "close")


def _usual_move(size: Floats, counted: NDArray[np.bool_]) -> Floats:
    overall = float(size[counted].mean()) if counted.any() else 0.0
    local = pd.Series(size).rolling(_WINDOW, center=True, min_periods=_WINDOW // 5).median().fillna(0.0).to_numpy()
    usual = np.maximum(local * _MEAN_OVER_MEDIAN, overall)
    return np.where(usual > 0, usual, np.inf)  # a history that never moves has no outliers


@dataclass(frozen=True)
class StaleRuns:
    """Runs of bars at one and the same price: row of the first bar and length in bars, (runs,) each."""

    rows: NDArray[np.int64]
    bars: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def find_stale_runs(clean: pd.DataFrame, opens: Times, least: int, hours: MarketHours) -> StaleRuns:
    """Return runs of at least `least` bars without any movement while the market should be moving.

    That is: London or New York is at work, no holiday, and, where the venue counts ticks, that hour of the week has
    ticks as a rule. At any hour, bars that count ticks and never move are frozen too.
    """
    if len(opens) == 0:
        return StaleRuns(np.empty(0, np.int64), np.empty(0, np.int64))
    close = clean["close"].to_numpy(dtype=np.float64)
    flat = (clean["high"].to_numpy() == clean["low"].to_numpy()) & (close == np.r_[np.nan, close[:-1]])
    at_work = sessions_at(opens)
    lively = (at_work["london"] | at_work["new_york"]) & hours.is_open(opens)
    if "volume" in clean.columns:
        volume = clean["volume"].to_numpy(dtype=np.float64)
        usual = _usual_volume(opens, np.where(flat, np.nan, volume))
        with np.errstate(invalid="ignore"):
            lively = (lively & ~(usual < _TICKING)) | (volume >= _TICKING)
    edges = np.flatnonzero(np.diff(np.r_[0, (flat & lively).astype(np.int8), 0]))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    long = lengths >= least
    return StaleRuns(starts[long].astype(np.int64), lengths[long].astype(np.int64))


def _usual_volume(opens: Times, volume: Floats) -> Floats:
    """Return the median volume of each bar's hour of the week, NaN where none is known: (bars,)."""
    hour = calendar.hour_of_week(opens)
    median = pd.Series(volume).groupby(hour).median()
    return np.asarray(median.reindex(hour).to_numpy(dtype=np.float64))


@dataclass(frozen=True)
class WeekShifts:
    """Weeks that begin and end by the same whole hours too early or late: `weeks` (their opens), `hours` (+ is late);
    `judged`: how many weeks have both edges in the data."""

    weeks: Times
    hours: NDArray[np.int64]
    judged: int

    @property
    def odd(self) -> NDArray[np.bool_]:
        """Which weeks the summer time of another country does not explain: (weeks,)."""
        apart = to_local(self.weeks, "Europe/London") - to_local(self.weeks, "America/New_York")
        return np.asarray((np.abs(self.hours) > 1) | (apart == 5 * _HOUR))


def find_week_shifts(stamps: Times, length: Timeframe) -> WeekShifts:
    """Return the weeks whose stamps are another clock's.

    `stamps`: opens of all bars as they came, those outside market hours included where they `traded`, any order. A
    venue that merely opens late or closes early moves one edge, a wrong clock moves both by as much. Summer time taken
    from another country shows in the few weeks a year in which the two differ. Bars longer than an hour say nothing.
    """
    none = WeekShifts(np.empty(0, "datetime64[ns]"), np.empty(0, np.int64), 0)
    if len(stamps) == 0 or length.minutes > 60:
        return none
    stamps = np.sort(stamps)
    weeks = calendar.week_opens()
    weeks = weeks[(weeks >= stamps[0] - _DAY) & (weeks <= stamps[-1])]
    closes = calendar.week_close(weeks) if len(weeks) else weeks
    first = np.searchsorted(stamps, weeks - _DAY)
    last = np.searchsorted(stamps, closes + _DAY) - 1
    known = (first < len(stamps)) & (last >= 0) & (first <= last)
    weeks, closes, first, last = weeks[known], closes[known], first[known], last[known]
    opening, closing = stamps[first] - weeks, stamps[last] + length.duration - closes
    both = (np.abs(opening) <= _DAY) & (np.abs(closing) <= _DAY)
    hours = np.round(opening / _HOUR).astype(np.int64)
    off = both & (hours != 0) & (np.abs(hours) <= _MAX_SHIFT_HOURS)
    off &= (np.abs(opening - hours * _HOUR) <= _TOLERANCE) & (np.abs(closing - opening) <= _TOLERANCE)
    return WeekShifts(weeks[off], hours[off], int(both.sum()))


def traded(rows: pd.DataFrame, clean: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows moved, or counted ticks, as bars of an open market do: (rows,).

    `rows`: `high`, `low` and, where known, `volume`, numbers or text; `clean`: the usable bars. Venues write a stub of
    one or two ticks after the close on Friday, which must not be taken for an hour of trading.
    """
    with np.errstate(invalid="ignore"):
        reach = _numbers(rows, "high") - _numbers(rows, "low")
        out = reach >= 0.3 * np.median(clean["high"].to_numpy() - clean["low"].to_numpy())
        if "volume" in rows.columns and "volume" in clean.columns and clean["volume"].notna().any():
            out |= _numbers(rows, "volume") >= max(_TICKING, 0.1 * float(clean["volume"].median()))
    return np.asarray(out & (reach >= 0))


def _numbers(rows: pd.DataFrame, name: str) -> Floats:
    return np.asarray(pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))
