"""Dukascopy's data feed: minute bars of bid and ask by the day, or ticks by the hour, as `.bi5` files (SPEC 21).

Both sides make mid bars with their spread. No key is needed. A file that is not there (404) or is empty is a span
without trading. Volume of minute bars is what was traded on the bid side in the feed's unit, of ticks their count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.files.bi5 import decode_candles, decode_ticks, filler, price_scale
from fxgpt_core.market.providers.http import Broken, HttpClient, HttpConfig
from fxgpt_core.market.providers.provider import Chunk, Pace, no_bars, pieces, rows_between, usable, whole_bars
from fxgpt_core.market.resampling import resample
from fxgpt_core.market.sides import combine_sides
from fxgpt_core.market.ticks import bars_from_ticks
from fxgpt_core.store.clock import to_datetime64

_T = TypeVar("_T")
_DAY, _HOUR = np.timedelta64(24 * 3_600_000_000_000, "ns"), np.timedelta64(3_600_000_000_000, "ns")
_MINUTE, _SESSION = TIMEFRAMES["1m"], TIMEFRAMES["1d"]
Ticks = tuple[NDArray[np.datetime64], NDArray[np.float64], NDArray[np.float64]]


class Config(HttpConfig):
    """Options of the Dukascopy feed."""

    base_url: str = Field("https://datafeed.dukascopy.com/datafeed", pattern=r"^https?://[^\s?#]+$")
    requests_per_minute: float = Field(120.0, gt=0, le=60_000)
    burst: int = Field(10, ge=1, le=1000)
    ticks: bool = Field(False, description="Make bars of ticks, 24 small files a day, instead of the minute bars.")
    scale: float | None = Field(
        None, gt=0, description="What the feed's whole numbers are divided by; none: 1000 for yen and metals, else 1e5."
    )
    settling_minutes: float = Field(
        60.0, ge=0, le=10_080, description="How long after its end a file may still be missing or change."
    )

    @property
    def lag_hours(self) -> float:
        """A bar comes with its file: minute bars with their day, ticks with their hour."""
        return (1.0 if self.ticks else 24.0) + self.settling_minutes / 60


def create(config: Config, pace: Pace) -> Dukascopy:
    """Return the provider."""
    return Dukascopy(config, pace)


class Dukascopy:
    """Mid bars from the data feed. `name` tells bars made of ticks from those made of minute bars."""

    side = "mid"

    def __init__(self, config: Config, pace: Pace | None = None) -> None:
        self.name = "dukascopy_ticks" if config.ticks else "dukascopy"
        self._config = config
        self._client = HttpClient(config, "Dukascopy", pace)
        self._file = _HOUR if config.ticks else _DAY

    @property
    def requests(self) -> int:
        """Requests made so far."""
        return self._client.requests

    def final_until(self, now: np.datetime64) -> np.datetime64:
        """Return the end of the last file that is over for longer than it may take to appear."""
        settled = np.datetime64(now, "ns") - np.timedelta64(round(self._config.settling_minutes * 60), "s")
        return _floor(settled, self._file)

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield one chunk per file, or per session or bar where a bar needs several files.

        Only files that are over and settled are asked for, so the running day (with ticks the running hour) is not
        there yet. Files without open market hours are never asked for.
        """
        final = self.final_until(to_datetime64(self._client.pace.clock.now()))
        bars = self._of_ticks if self._config.ticks else self._of_minutes
        known: dict[np.datetime64, Any] = {}
        span = whole_bars(start, end, timeframe, final)
        for first, last in pieces(*span, _cuts(*span, timeframe, self._file)):
            files = _files(first, last, self._file)
            # Sessions begin at 17:00 New York, so that two of them share the file of a UTC day.
            known = {at: known[at] if at in known else self._read(symbol, at) for at in files}
            candles, set_aside = bars(symbol, timeframe, first, last, list(known.values()))
            yield Chunk(first, last, candles, set_aside)

    def _read(self, symbol: str, at: np.datetime64) -> Any:
        """Return the decoded rows of one file: (bid, ask) frames of a day, or (times, bid, ask) of an hour."""
        scale = self._config.scale or price_scale(symbol)
        stamp = at.astype("datetime64[s]").item()
        folder = f"{symbol}/{stamp.year}/{stamp.month - 1:02d}/{stamp.day:02d}"  # January is month 00
        if self._config.ticks:
            return self._get(f"{folder}/{stamp.hour:02d}h_ticks.bi5", lambda body: decode_ticks(body, at, scale))
        return tuple(
            self._get(f"{folder}/{side}_candles_min_1.bi5", lambda body: decode_candles(body, at, scale))
            for side in ("BID", "ASK")
        )

    def _get(self, path: str, decode: Callable[[bytes], _T]) -> _T:
        def read(body: bytes) -> _T:
            try:
                return decode(body)
            except DataError as error:
                raise Broken(str(error).rstrip(".")) from None

        found = self._client.get(path, read)
        return decode(b"") if found is None else found

    def _of_minutes(
        self,
        symbol: str,
        timeframe: Timeframe,
        start: np.datetime64,
        end: np.datetime64,
        days: list[tuple[pd.DataFrame, pd.DataFrame]],
    ) -> tuple[Candles, pd.DataFrame | None]:
        """Return the bars that open in [start, end) and the minute rows set aside."""
        if not days:
            return no_bars(symbol, timeframe, self.side), None
        both = [rows_between(pd.concat(side, ignore_index=True), start, end) for side in zip(*days, strict=True)]
        active = pd.concat([rows["ts_utc"][~filler(rows)] for rows in both])  # on either side
        traded = [rows[rows["ts_utc"].isin(active)].reset_index(drop=True) for rows in both]
        (bid, bad_bid), (ask, bad_ask) = (
            usable(rows, symbol, _MINUTE, side) for rows, side in zip(traded, ("bid", "ask"), strict=True)
        )
        mid = combine_sides(bid, ask)
        bars = mid if timeframe == _MINUTE else resample(mid, timeframe, known_until=end)
        return bars, _together(bad_bid, bad_ask, _lonely(bid, mid), _lonely(ask, mid))

    def _of_ticks(
        self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64, hours: list[Ticks]
    ) -> tuple[Candles, pd.DataFrame | None]:
        """Return the bars that open in [start, end) and the ticks set aside."""
        if not hours:
            return no_bars(symbol, timeframe, self.side), None
        times, bid, ask = (np.concatenate(column) for column in zip(*hours, strict=True))
        order = np.argsort(times, kind="stable")
        times, bid, ask = times[order], bid[order], ask[order]
        inside = (times >= start) & (times < end)
        good = (bid > 0) & (ask > 0) & inside  # hours are asked for whole, and the market opens and closes on the hour
        bars = bars_from_ticks(times[good], bid[good], ask[good], symbol, timeframe)
        unpriced = np.flatnonzero(inside & ~good)
        stamps = pd.DatetimeIndex(times[unpriced]).tz_localize("UTC")
        rows = pd.DataFrame({"row": unpriced, "ts_utc": stamps, "low": bid[unpriced], "high": ask[unpriced]})
        return bars, _together(rows.assign(reason="not_positive"))


def _cuts(
    start: np.datetime64, end: np.datetime64, timeframe: Timeframe, file: np.timedelta64
) -> NDArray[np.datetime64]:
    """Return where a file ends and no bar is open: for 4h and slower where a session, week or (ticks) bar ends."""
    if timeframe.new_york_aligned:
        return calendar.bar_opens(start, end, max(timeframe, _SESSION) if file == _DAY else timeframe)
    step = max(file, timeframe.duration)
    return np.arange(_floor(start, step), end, step)


def _files(start: np.datetime64, end: np.datetime64, file: np.timedelta64) -> list[np.datetime64]:
    """Return the starts of the files that cover the open market hours of [start, end)."""
    starts: NDArray[np.datetime64] = np.arange(_floor(start, file), end, file)
    open_minutes = calendar.trading_minutes_between(np.maximum(starts, start), np.minimum(starts + file, end))
    return list(starts[open_minutes > 0])


def _floor(moment: np.datetime64, step: np.timedelta64) -> np.datetime64:
    return moment - (moment - np.datetime64(0, "ns")) % step


def _lonely(bars: Candles, mid: Candles) -> pd.DataFrame:
    """Return the bars of one side that the other side lacks, as rows set aside."""
    alone = np.flatnonzero(~np.isin(bars.ts_utc, mid.ts_utc, assume_unique=True))
    rows = bars.take(alone).to_frame().reset_index()
    rows.insert(0, "row", alone)
    return rows.assign(reason="one_sided")


def _together(*parts: pd.DataFrame | None) -> pd.DataFrame | None:
    filled = [part for part in parts if part is not None and len(part)]
    return pd.concat(filled, ignore_index=True) if filled else None
