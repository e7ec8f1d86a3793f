"""Alpha Vantage FX_INTRADAY: prices over REST by the month, newest first, no volume, no spread (SPEC 21).

Limits, refusals and errors come as a JSON message with status 200. The key travels as a parameter of the URL, so URLs
are never shown with theirs. Prices are taken for mid prices; Alpha Vantage does not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.providers.http import Broken, HttpClient, HttpConfig, Key
from fxgpt_core.market.providers.provider import (
    Chunk,
    Pace,
    ProviderError,
    month_turns,
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

KEY = "ALPHAVANTAGE_API_KEY"
_INTERVALS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "60min"}
_NATIVE = [TIMEFRAMES[code] for code in _INTERVALS]
_FIELDS = ("1. open", "2. high", "3. low", "4. close")


class Config(HttpConfig):
    """Options of Alpha Vantage; the default pace is that of its free plan (5 requests a minute, 25 a day)."""

    base_url: str = Field("https://www.alphavantage.co", pattern=r"^https?://[^\s?#]+$")
    requests_per_minute: float = Field(5.0, gt=0, le=60_000)
    settling_minutes: float = Field(
        15.0, ge=0, le=10_080, description="How long after its close a bar may still be missing or change."
    )


def create(config: Config, pace: Pace) -> AlphaVantage:
    """Return the provider with the key from the environment; raises BadInputError without one."""
    return AlphaVantage(config, Key.from_environment(KEY, "Alpha Vantage"), pace)


class AlphaVantage:
    """Bars from Alpha Vantage; the time of a row is the bar's open, UTC."""

    name, side = "alpha_vantage", "mid"

    def __init__(self, config: Config, key: Key, pace: Pace | None = None) -> None:
        self._config = config
        self._client = HttpClient(config, "Alpha Vantage", pace, key, parameter="apikey", resets=self._resets)

    @property
    def requests(self) -> int:
        """Requests made so far."""
        return self._client.requests

    def final_until(self, now: np.datetime64) -> np.datetime64:
        """Return the instant before which bars do not change any more."""
        return np.datetime64(now, "ns") - np.timedelta64(round(self._config.settling_minutes * 60), "s")

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield one chunk per month of bar opens, for 4h and slower cut at the bar open next to the month's end.

        A bar that is still running is left out. Raises ProviderError when the answer does not reach back to a month.
        """
        now = to_datetime64(self._client.pace.clock.now())
        native = max(bar for bar in _NATIVE if bar <= timeframe)
        known: dict[np.datetime64, pd.DataFrame] = {}
        span = whole_bars(start, end, timeframe, now)
        for first, last in pieces(*span, month_turns(*span, timeframe)):
            months = _touched(first, last)
            known = {m: known[m] if m in known else self._month(symbol, native, m) for m in months}
            if not known:
                yield Chunk(first, last, no_bars(symbol, timeframe, self.side))
                continue
            rows = rows_between(pd.concat(list(known.values()), ignore_index=True), first, last)
            bars, set_aside = usable(rows, symbol, native, self.side)
            yield Chunk(
                first, last, bars if native == timeframe else resample(bars, timeframe, known_until=last), set_aside
            )

    def _month(self, symbol: str, native: Timeframe, month: np.datetime64) -> pd.DataFrame:
        """Return the rows of one month as they came.

        The parameter `month` is documented for shares; where the service passes over it, the answer holds later rows
        and reaches back only so far. Then the month is not answered, and must not count as empty.
        """
        interval = _INTERVALS[native.code]
        parameters = {
            "function": "FX_INTRADAY",
            "from_symbol": symbol[:3],
            "to_symbol": symbol[3:],
            "interval": interval,
            "month": str(month),
            "outputsize": "full",
            "datatype": "json",
        }
        rows = self._client.get("query", lambda body: self._read(body, interval), parameters)
        if rows is None:
            raise ProviderError(f"Alpha Vantage has nothing at {self._client.shown('query')}: check base_url.")
        begin, over = (np.datetime64(at, "ns") for at in (month, month + 1))
        stamps = rows["ts_utc"].dt.tz_localize(None).dropna().to_numpy(dtype="datetime64[ns]")
        reached = calendar.trading_minutes_between(begin, stamps.min()) <= 1440 if len(stamps) else True
        if (stamps >= over).any() and not reached:
            raise ProviderError(
                f"Alpha Vantage gives {symbol} {native} bars only since {stamps.min().astype('datetime64[D]')}, not of "
                f"{month}: ask from there on, or take another provider."
            )
        return rows

    def _read(self, body: bytes, interval: str) -> pd.DataFrame:
        """Return the rows of an answer; a message with status 200 raises what it means."""
        try:
            answer = json.loads(body)
        except ValueError:
            raise Broken("the JSON was cut off") from None
        series = answer.get(f"Time Series FX ({interval})") if isinstance(answer, dict) else None
        if not isinstance(series, dict):
            raise self._meaning(answer)
        zone = next((value for name, value in answer.get("Meta Data", {}).items() if name.endswith("Time Zone")), None)
        if zone != "UTC":
            raise ProviderError(f"Alpha Vantage stamps its bars in {zone!r}, not in UTC: its format has changed.")
        rows = list(series.values())
        if not all(isinstance(row, dict) and set(_FIELDS) <= set(row) for row in rows):
            raise ProviderError(f"Alpha Vantage's rows lack {', '.join(_FIELDS)}: its format has changed.")
        stamps = pd.to_datetime(pd.Series(list(series), dtype=object), utc=True, format="%Y-%m-%d %H:%M:%S",
                                errors="coerce")  # fmt: skip
        frame = pd.DataFrame({name: [row[key] for row in rows] for name, key in zip(PRICES, _FIELDS, strict=True)})
        frame.insert(0, "ts_utc", stamps.astype("datetime64[ns, UTC]"))
        return numbers(frame).iloc[::-1].reset_index(drop=True)

    def _meaning(self, answer: Any) -> Exception:
        """Return the error that a message in place of data stands for."""
        message = answer if isinstance(answer, dict) else {}
        text = " ".join(str(message[name]) for name in ("Error Message", "Note", "Information") if name in message)
        if not text:
            return Broken("the answer holds neither bars nor a message")
        if re.search(r"premium endpoint|demo|invalid or missing|apikey is", text, re.IGNORECASE):
            return self._client.refused(text)
        if (reset := self._resets(text)) is not None:
            return self._client.later(text, reset)
        return ProviderError(f"Alpha Vantage answers with a message instead of bars: {self._client.hide(text)}")

    def _resets(self, text: str) -> datetime | None:
        """Return when the allowance that a message speaks of begins anew: in a minute, or tomorrow (UTC)."""
        if not re.search(r"rate limit|call frequency|per day|per minute|per second|higher.*limit", text, re.IGNORECASE):
            return None
        now = self._client.pace.clock.now()
        if re.search(r"per day|daily", text, re.IGNORECASE) and not re.search(r"per minute", text, re.IGNORECASE):
            return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return now + timedelta(minutes=1)


def _touched(start: np.datetime64, end: np.datetime64) -> list[np.datetime64]:
    """Return the months in which the market is open between `start` and `end`."""
    months = np.arange(start.astype("datetime64[M]"), (end - np.timedelta64(1, "ns")).astype("datetime64[M]") + 1)
    begins, ends = (np.asarray(at, "datetime64[ns]") for at in (months, months + 1))
    minutes = calendar.trading_minutes_between(np.maximum(begins, start), np.minimum(ends, end))
    return list(months[minutes > 0])
