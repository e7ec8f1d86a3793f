"""The seam between the lake and where bars come from: `Provider`, what it yields, and how it fails.

A new provider is one file with a class of this shape and one line in `registry`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.quality.assessment import PRICES, assess
from fxgpt_core.store.clock import Clock, SystemClock


class ProviderError(FxgptError):
    """A provider cannot be reached, or its answer cannot be used; what came before it is not lost."""


class AccessError(ProviderError):
    """A provider does not accept the key, or the key's plan does not include what was asked for."""

    exit_code = 2


class QuotaError(ProviderError):
    """A provider's allowance is used up until `retry_at` (aware, UTC)."""

    def __init__(self, message: str, retry_at: datetime) -> None:
        super().__init__(message)
        self.retry_at = retry_at


@dataclass(frozen=True)
class Pace:
    """The clocks of a provider: `clock` tells the time, `monotonic` and `sleep` count seconds. Tests replace them."""

    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Chunk:
    """What came for one span of time.

    `start`, `end`: the span [start, end) of bar opens (UTC) that was asked for and answered completely. `candles`: its
    bars, perhaps none. `set_aside`: rows of the span that are no usable bars, in the form of `Assessment.quarantine`;
    None when there are none.
    """

    start: np.datetime64
    end: np.datetime64
    candles: Candles
    set_aside: pd.DataFrame | None = None


class Provider(Protocol):
    """Where bars come from. `name` identifies the data (the same bars have the same name), `side` is their price."""

    @property
    def name(self) -> str: ...

    @property
    def side(self) -> str: ...

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield the bars that open in [start, end), UTC.

        Chunks come in ascending order, contiguous, covering the span until the iterator ends or raises ProviderError;
        a consumer stores each chunk when it gets it, so what broke off resumes after the last chunk. Bars that have
        not closed yet are never yielded: the iterator ends before them.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """What a provider on the network says beyond `Provider`."""

    @property
    def requests(self) -> int:
        """Requests made so far, repeated ones included."""
        ...

    def final_until(self, now: np.datetime64) -> np.datetime64:
        """Return the instant (UTC) before which answers that are given at `now` will not change any more."""
        ...


def no_bars(symbol: str, timeframe: Timeframe, side: str) -> Candles:
    """Return candles without a bar."""
    return Candles(symbol, timeframe, side, np.empty(0, "datetime64[ns]"), *[np.empty(0) for _ in range(6)])


def usable(frame: pd.DataFrame, symbol: str, timeframe: Timeframe, side: str) -> tuple[Candles, pd.DataFrame | None]:
    """Return the bars of raw rows (`ts_utc` UTC-aware, OHLC, perhaps volume and spread) and the rows set aside.

    A row that comes twice counts once. Rows of one time that contradict each other are all set aside with the reason
    `contradictory`: there is no telling which of them is right.
    """
    if frame.empty:
        return no_bars(symbol, timeframe, side), None
    frame = frame.drop_duplicates(ignore_index=True)
    torn = frame["ts_utc"].notna() & frame["ts_utc"].duplicated(keep=False)
    judged = assess(frame[~torn].reset_index(drop=True), symbol, timeframe)
    contradictory = frame[torn].assign(reason="contradictory")
    contradictory.insert(0, "row", np.flatnonzero(torn))
    parts = [part for part in (judged.quarantine, contradictory) if len(part)]
    set_aside = pd.concat(parts, ignore_index=True) if parts else None
    return Candles.from_frame(judged.clean, symbol, timeframe, side), set_aside


def rows_between(frame: pd.DataFrame, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
    """Return the raw rows that open in [start, end); rows without a readable time stay."""
    stamps = frame["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    return frame[np.isnat(stamps) | ((stamps >= start) & (stamps < end))].reset_index(drop=True)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return raw rows with prices as float64, NaN where a field is no number, so that `1.10` equals `1.1`."""
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce").astype(np.float64) for name in PRICES})


def running_open(now: np.datetime64, timeframe: Timeframe) -> np.datetime64:
    """Return the open of the bar that is running at `now` (UTC): those that open before it have closed."""
    return np.datetime64(calendar.bar_open(now, timeframe).item(), "ns")


def whole_bars(
    start: np.datetime64, end: np.datetime64, timeframe: Timeframe, until: np.datetime64
) -> tuple[np.datetime64, np.datetime64]:
    """Return the span of the bars that open in [start, end) and close at or before `until`, from open to close."""
    first, last = (_next_open(np.datetime64(moment, "ns"), timeframe) for moment in (start, end))
    return first, max(first, min(last, running_open(until, timeframe)))


def pieces(
    start: np.datetime64, end: np.datetime64, cuts: NDArray[np.datetime64]
) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    """Yield [start, end) in pieces, cut at those of `cuts` (UTC, ascending) that lie inside."""
    inside = cuts[(cuts > start) & (cuts < end)]
    return ((first, last) for first, last in pairwise([start, *inside, end]) if first < last)


def month_turns(start: np.datetime64, end: np.datetime64, timeframe: Timeframe) -> NDArray[np.datetime64]:
    """Return the turns of months (UTC) after `start` up to `end`, each moved back to where a bar opens."""
    turns = np.arange(start.astype("datetime64[M]") + 1, end.astype("datetime64[M]") + 1).astype("datetime64[ns]")
    return calendar.bar_open(turns, timeframe) if len(turns) else turns


def _next_open(moment: np.datetime64, timeframe: Timeframe) -> np.datetime64:
    """Return the first bar open at or after a time; over a weekend it is that of the new week."""
    opened = running_open(moment, timeframe)
    if opened == moment:
        return opened
    following = opened + timeframe.duration
    if timeframe.new_york_aligned:
        weeks = calendar.week_opens()
        following = min(following, weeks[np.searchsorted(weeks, moment, side="right")])
    return following
