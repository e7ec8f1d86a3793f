"""HistData ASCII: minute bars `YYYYMMDD HHMMSS;O;H;L;C;V` and ticks `YYYYMMDD HHMMSSNNN,bid,ask,vol`, no header.

The vendor documents fixed EST (UTC-5) without daylight saving; files in circulation are in New York local time. So the
stamps are taken for a wall clock whose weeks must show which it is (SPEC 21).
"""

from __future__ import annotations

import re

from fxgpt_core.market.files.layouts.layout import OHLC, Layout, Member, RawTable
from fxgpt_core.market.files.layouts.text import DELIMITERS, read_columns, usual_width

_DOCUMENTED = "EST"
_TICK = re.compile(r"\d{8} \d{9}([,;\t])\d+(\.\d+)?\1\d+(\.\d+)?(\1.*)?")


def _is_bars(member: Member) -> bool:
    if not member.is_text or not member.head.rows:
        return False
    first = member.head.rows[0]
    return re.fullmatch(r"\d{8} \d{6}", first[0]) is not None and len(first) >= 5


def _read_bars(member: Member) -> RawTable:
    head = member.head
    width = usual_width(head.rows)
    names = ["stamp", *OHLC, "volume", *(f"extra{i}" for i in range(width - 6))][:width]
    values = [name for name in (*OHLC, "volume") if name in names]
    frame = read_columns(member.text, head.delimiter, names, values, header=False)
    return RawTable(
        frame[["line", "stamp", *values, "malformed"]],
        "histdata",
        delimiter=DELIMITERS[head.delimiter],
        documented=_DOCUMENTED,
        side="bid",
        side_how="HistData bars are bid bars",
    )


def _is_ticks(member: Member) -> bool:
    return member.is_text and bool(member.head.lines) and _TICK.fullmatch(member.head.lines[0].strip()) is not None


def _read_ticks(member: Member) -> RawTable:
    lines = member.head.lines
    found = _TICK.fullmatch(lines[0].strip())
    delimiter = found[1] if found else ","
    width = usual_width([line.split(delimiter) for line in lines])
    names = ["stamp", "bid", "ask", *(f"extra{i}" for i in range(width - 3))]
    frame = read_columns(member.text, delimiter, names, ["bid", "ask"], header=False)
    return RawTable(
        frame[["line", "stamp", "bid", "ask", "malformed"]],
        "histdata_ticks",
        kind="ticks",
        delimiter=DELIMITERS[delimiter],
        documented=_DOCUMENTED,
        side="both",
        side_how="ticks are quotes of both",
    )


BARS = Layout("histdata", _is_bars, _read_bars)
TICKS = Layout("histdata_ticks", _is_ticks, _read_ticks)
