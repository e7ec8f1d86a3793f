"""Lean data files (zips of FXCM or Oanda): no header, the date in the file's name or in the rows.

Minute files hold milliseconds of the day, hourly and daily ones `YYYYMMDD HH:MM`; then bid OHLC, bid size, ask OHLC,
ask size (quotes) or OHLC and volume (trades). Ticks are milliseconds, bid, ask. Lean's market-hours database keeps both
vendors' currencies in UTC; prices are decimal.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.clocks.stamps import Stamps, parse_stamps
from fxgpt_core.market.files.layouts.layout import BOTH_SIDES, OHLC, Layout, Member, RawTable
from fxgpt_core.market.files.layouts.text import DELIMITERS, read_columns

_QUOTE = [*BOTH_SIDES[:4], "bid_size", *BOTH_SIDES[4:], "ask_size"]
_TRADE = [*OHLC, "volume"]
_WIDTHS = {11: _QUOTE, 6: _TRADE}
_CLOCK_HOW = "Lean keeps the currencies of FXCM and Oanda in UTC (its market-hours database)"


def _recognise(member: Member) -> bool:
    if not member.is_text or not member.head.lines:
        return False
    rows = [line.strip().split(",") for line in member.head.lines]
    if re.fullmatch(r"\d{8} \d\d:\d\d", rows[0][0]):
        return len(rows[0]) in _WIDTHS
    millis = all(re.fullmatch(r"\d{1,8}", row[0]) and int(row[0]) < 86_400_000 for row in rows)
    known = len(rows[0]) in _WIDTHS or (len(rows[0]) == 3 and "tick" in member.name.lower())
    return millis and known and (_date(member) is not None or "lean" in str(member.path).lower())


def _read(member: Member) -> RawTable:
    first = member.head.lines[0].strip().split(",")
    ticks = len(first) == 3
    values = ["bid", "ask"] if ticks else _WIDTHS[len(first)]
    frame = read_columns(member.text, ",", ["stamp", *values], values, header=False)
    used = [name for name in values if not name.endswith("_size")]
    both = ticks or values is _QUOTE
    return RawTable(
        frame[["line", "stamp", *used, "malformed"]],
        "lean",
        kind="ticks" if ticks else "bars",
        delimiter=DELIMITERS[","],
        stamps=_stamps(member, frame, daily=" " in first[0]),
        clock="UTC",
        clock_how=_CLOCK_HOW,
        side="both" if both else "mid",
        side_how="Lean quotes have bid and ask" if both else "Lean trades have no side",
    )


def _stamps(member: Member, frame: pd.DataFrame, daily: bool) -> Stamps:
    if daily:
        return parse_stamps(frame["stamp"].where(~frame["malformed"]), member.where)
    date = _date(member)
    if date is None:
        raise BadInputError(f"{member.where} has milliseconds of a day as stamps and no date in its name: add it.")
    millis = pd.to_numeric(frame["stamp"].where(~frame["malformed"]).astype(object), errors="coerce").to_numpy(float)
    inside = (millis >= 0) & (millis < 86_400_000)
    since = np.where(inside, millis, 0).astype(np.int64).astype("timedelta64[ms]")
    times = np.where(inside, date.astype("datetime64[ns]") + since, np.datetime64("NaT", "ns"))
    return Stamps(times.astype("datetime64[ns]"), False, "milliseconds of the day")


def _date(member: Member) -> np.datetime64 | None:
    """Return the day that the file's name, or its archive's, says."""
    for name in member.names()[:2]:
        found = re.search(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])([0-2]\d|3[01])(?!\d)", name)
        if found:
            return np.datetime64(f"{found[1]}-{found[2]}-{found[3]}")
    return None


LAYOUT = Layout("lean", _recognise, _read)
