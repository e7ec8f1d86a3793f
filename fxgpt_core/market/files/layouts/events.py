"""Economic calendars: files that name a currency, an event and its time, and no prices."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from fxgpt_core.market.files.layouts.columns import plain
from fxgpt_core.market.files.layouts.layout import Member

_NAMES = {"name", "event", "title", "eventname"}
_TIMES = {"time", "date", "datetime", "timestamp", "tsutc", "ts", "datetimeutc", "timeutc", "start"}
_IMPACTS = {"impact", "importance", "volatility"}


def is_events(member: Member) -> bool:
    """Return whether a file is an economic calendar, by the names of its columns."""
    if member.data[:4] == b"PAR1":
        try:
            names = pq.read_schema(io.BytesIO(member.data)).names
        except (pa.ArrowException, OSError, ValueError):
            return False
    elif member.is_text and member.head.lines:
        first = member.head.lines[0]
        delimiter = max(",;\t", key=first.count)
        names = [field.strip().strip('"') for field in first.split(delimiter)]
    else:
        return False
    known = {plain(str(name)) for name in names}
    return bool("currency" in known and known & _NAMES and known & _TIMES and known & _IMPACTS and "close" not in known)
