"""Dukascopy `.bi5` files on disk: their path or name says which pair, day and hour they are.

The vendor's tree counts months from 00 (`EURUSD/2017/02/01/13h_ticks.bi5` is March 1st), and so do flat copies of it
(`EURUSD_2017_02_01_13h_ticks.bi5`); a date written as one (`EURUSD_2017-03-01_13h_ticks.bi5`, `20170301`) is a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.market.clocks.stamps import Stamps
from fxgpt_core.market.files.bi5 import decode_candles, decode_ticks, filler, price_scale
from fxgpt_core.market.files.layouts.layout import Layout, Member, RawTable
from fxgpt_core.market.zones import Times

_WHAT = r"(?:(?P<hour>\d{1,2})h_ticks|(?P<side>BID|ASK)_candles_min_1)\.bi5$"
_TREE = re.compile(r"(?P<year>\d{4})[/_](?P<month>\d\d)[/_](?P<day>\d\d)[/_]" + _WHAT, re.IGNORECASE)
_DATED = re.compile(r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)[/_T-]" + _WHAT, re.IGNORECASE)
_CLOCK_HOW = "Dukascopy files are in UTC"


@dataclass(frozen=True)
class _Place:
    """What a path says: the start of the file's hour or day, and the side (empty for ticks)."""

    start: np.datetime64
    side: str


def _recognise(member: Member) -> bool:
    return member.name.lower().endswith(".bi5")


def _read(member: Member) -> RawTable:
    place, symbol = _place(member), member.symbol
    if symbol is None:
        raise BadInputError(f"The path of {member.where} names no currency pair, which says how its prices are scaled.")
    try:
        return _ticks(member, place, symbol) if not place.side else _candles(member, place, symbol)
    except DataError as error:
        raise BadInputError(f"{member.where}: {error}") from error


def _place(member: Member) -> _Place:
    text = "/".join(reversed(member.names()[:5]))
    for pattern, first_month in ((_DATED, 1), (_TREE, 0)):
        found = pattern.search(text)
        if found is None:
            continue
        month = int(found["month"]) - first_month
        try:
            year = np.datetime64(found["year"], "M")
            day = (year + month).astype("datetime64[D]") + (int(found["day"]) - 1)
            possible = 0 <= month < 12 and day.astype("datetime64[M]") == year + month and int(found["hour"] or 0) < 24
        except ValueError:
            possible = False
        if possible:
            start = day.astype("datetime64[ns]") + np.timedelta64(int(found["hour"] or 0), "h")
            return _Place(start, (found["side"] or "").lower())
        raise BadInputError(f"The path of {member.where} names no day: months count from 00 in Dukascopy's tree.")
    raise BadInputError(
        f"The path of {member.where} does not say its day: keep Dukascopy's tree (EURUSD/2017/02/01/13h_ticks.bi5, "
        "months from 00) or name it EURUSD_2017-03-01_13h_ticks.bi5 or EURUSD_2017-03-01_BID_candles_min_1.bi5."
    )


def _candles(member: Member, place: _Place, symbol: str) -> RawTable:
    bars = decode_candles(member.data, place.start, price_scale(symbol))
    kept = ~filler(bars)
    lines = np.flatnonzero(kept) + 1
    bars = bars[kept].reset_index(drop=True)
    return RawTable(
        _with_lines(bars.rename(columns={"ts_utc": "stamp"}), lines),
        "dukascopy",
        stamps=Stamps(_naive(bars["ts_utc"]), True, "seconds of the day"),
        clock="UTC",
        clock_how=_CLOCK_HOW,
        side=place.side,
        side_how="from the file name",
        filler=int((~kept).sum()),
        period=(place.start, place.start + np.timedelta64(24, "h")),
    )


def _ticks(member: Member, place: _Place, symbol: str) -> RawTable:
    times, bid, ask = decode_ticks(member.data, place.start, price_scale(symbol))
    frame = pd.DataFrame({"stamp": times, "bid": bid, "ask": ask})
    return RawTable(
        _with_lines(frame, np.arange(1, len(frame) + 1)),
        "dukascopy_ticks",
        kind="ticks",
        stamps=Stamps(times, True, "milliseconds of the hour"),
        clock="UTC",
        clock_how=_CLOCK_HOW,
        side="both",
        side_how="ticks are quotes of both",
        period=(place.start, place.start + np.timedelta64(1, "h")),
    )


def _with_lines(frame: pd.DataFrame, lines: NDArray[np.int64]) -> pd.DataFrame:
    frame.insert(0, "line", lines)
    return frame.assign(malformed=False)


def _naive(column: pd.Series) -> Times:
    stamps: Times = column.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    return stamps


LAYOUT = Layout("dukascopy", _recognise, _read)
"""Ticks and minute bars; ticks call themselves `dukascopy_ticks` in answers."""
