"""Tiingo's FX bars: mid prices over REST, no volume, no spread (SPEC 21).

Asked by whole days (the endpoint takes dates) in pages that stay below the most rows an answer holds.
Bars of 4h and more would be aligned to UTC midnight there, so those, and 2h, are made here from hourly ones. A pair
that Tiingo does not quote answers with an empty list, as a span without trading does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.providers.http import Broken, HttpClient, HttpConfig, Key
from fxgpt_core.market.providers.provider import (
    Chunk,
    Pace,
    ProviderError,
    no_bars,
    numbers,
    pieces,
    rows_between,
    usable,
    whole_bars,
)
from fxgpt_core.market.quality.assessment import PRICES
from fxgpt_core.market.resampling import resample
from fxgpt_core.store.clock import to_datetime64

KEY = "TIINGO_API_KEY"
_FREQUENCIES = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1hour"}
_NATIVE = [TIMEFRAMES[code] for code in _FREQUENCIES]
_DAY = np.timedelta64(1, "D")
_BUSY = 360  # open minutes of a day that cannot well pass without a bar


class Config(HttpConfig):
    """Options of Tiingo; the default pace is that of its free plan (50 requests an hour)."""

    base_url: str = Field("https://api.tiingo.com", pattern=r"^https?://[^\s?#]+$")
    requests_per_minute: float = Field(0.5, gt=0, le=60_000)
    burst: int = Field(20, ge=1, le=1000)
    rows_per_request: int = Field(5000, ge=1440, le=100_000, description="Most rows that one page is made for.")
    settling_minutes: float = Field(
        15.0, ge=0, le=10_080, description="How long after its close a bar may still be missing or change."
    )


def create(config: Config, pace: Pace) -> Tiingo:
    """Return the provider with the key from the environment; raises BadInputError without one."""
    return Tiingo(config, Key.from_environment(KEY, "Tiingo"), pace)


class Tiingo:
    """Mid bars from Tiingo; `date` of a row is the bar's open."""

    name, side = "tiingo", "mid"

    def __init__(self, config: Config, key: Key, pace: Pace | None = None) -> None:
        self._config = config
        self._client = HttpClient(
            config, "Tiingo", pace, key, header=lambda value: f"Token {value}", resets=self._resets
        )

    @property
    def requests(self) -> int:
        """Requests made so far."""
        return self._client.requests

    def final_until(self, now: np.datetime64) -> np.datetime64:
        """Return the instant before which bars do not change any more."""
        return np.datetime64(now, "ns") - np.timedelta64(round(self._config.settling_minutes * 60), "s")

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield one chunk per page of whole days; a bar that is still running is left out."""
        now = to_datetime64(self._client.pace.clock.now())
        native = max(bar for bar in _NATIVE if bar <= timeframe)
        span = whole_bars(start, end, timeframe, now)
        for first, last in pieces(*span, _page_turns(*span, timeframe, self._page_days(native))):
            if not calendar.trading_minutes_between(first, last) > 0:
                yield Chunk(first, last, no_bars(symbol, timeframe, self.side))
                continue
            rows = rows_between(self._rows(symbol, native, first, last), first, last)
            bars, set_aside = usable(rows, symbol, native, self.side)
            yield Chunk(
                first, last, bars if native == timeframe else resample(bars, timeframe, known_until=last), set_aside
            )

    def _page_days(self, native: Timeframe) -> int:
        return max(1, min(31, self._config.rows_per_request * native.minutes // 1440))

    def _rows(self, symbol: str, native: Timeframe, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
        """Return the rows of the days that [start, end) touches, as they came.

        Whether `endDate` is included is not documented. It is taken to be; but where the last day of an answer is
        empty and should not be, that day is asked for by itself with the next one as its end.
        """
        last_day = (end - np.timedelta64(1, "ns")).astype("datetime64[D]")
        rows = self._days(symbol, native, start.astype("datetime64[D]"), last_day)
        from_last = np.maximum(start, last_day.astype("datetime64[ns]"))
        if calendar.trading_minutes_between(from_last, end) < _BUSY or (rows["ts_utc"] >= str(last_day)).any():
            return rows
        return pd.concat([rows, self._days(symbol, native, last_day, last_day + _DAY)], ignore_index=True)

    def _days(self, symbol: str, native: Timeframe, first: np.datetime64, last: np.datetime64) -> pd.DataFrame:
        parameters = {"startDate": str(first), "endDate": str(last), "resampleFreq": _FREQUENCIES[native.code]}
        found = self._client.get(f"tiingo/fx/{symbol.lower()}/prices", self._read, parameters)
        if found is None:
            raise ProviderError(f"Tiingo does not know {symbol}: check the pair, or take another provider.")
        return found

    def _read(self, body: bytes) -> pd.DataFrame:
        """Return the rows of an answer; a message with status 200 raises what it means."""
        text = body.decode("utf-8", "replace").strip()
        if text[:1] not in ("[", "{"):
            raise self._meaning(text)
        try:
            answer = json.loads(text)
        except ValueError:
            raise Broken("the JSON was cut off") from None
        if isinstance(answer, dict):
            raise self._meaning(str(answer.get("detail", text)))
        return _frame(answer)

    def _meaning(self, text: str) -> Exception:
        """Return the error that a message in place of data stands for."""
        if not text:
            return Broken("the answer was empty")
        if (reset := self._resets(text)) is not None:
            return self._client.later(text, reset)
        if re.search(r"token|authenticat|credential|permission|upgrade", text, re.IGNORECASE):
            return self._client.refused(text)
        return ProviderError(f"Tiingo answers with a message instead of bars: {self._client.hide(text)}")

    def _resets(self, text: str) -> datetime | None:
        """Return when the allowance that a message speaks of begins anew: hour, day or month of Tiingo's clock."""
        if not re.search(r"run over|limit|allocation|allowance|too many", text, re.IGNORECASE):
            return None
        local = self._client.pace.clock.now().astimezone(ZoneInfo(calendar.NEW_YORK))
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if re.search(r"month", text, re.IGNORECASE):
            return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        if re.search(r"dai?ly|day", text, re.IGNORECASE):
            return midnight + timedelta(days=1)
        return local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _frame(answer: Any) -> pd.DataFrame:
    """Return raw rows: `ts_utc` (NaT where unreadable) and OHLC; raises ProviderError for something else than rows."""
    fields = ("date", *PRICES)
    if not isinstance(answer, list) or not all(isinstance(row, dict) and set(fields) <= set(row) for row in answer):
        raise ProviderError(f"Tiingo's answer is no list of rows with {', '.join(fields)}: its format has changed.")
    frame = pd.DataFrame({name: [row[name] for row in answer] for name in fields}, dtype=object)
    stamps = pd.to_datetime(frame.pop("date"), utc=True, format="ISO8601", errors="coerce")
    frame.insert(0, "ts_utc", stamps.astype("datetime64[ns, UTC]"))
    return numbers(frame)


def _page_turns(start: np.datetime64, end: np.datetime64, timeframe: Timeframe, days: int) -> NDArray[np.datetime64]:
    """Return every `days`th UTC midnight after `start`, for 4h and slower moved back to where a bar opens."""
    turns = np.arange(start.astype("datetime64[D]") + days * _DAY, end, days * _DAY).astype("datetime64[ns]")
    return np.unique(calendar.bar_open(turns, timeframe)) if len(turns) else turns
