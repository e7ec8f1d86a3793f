"""MetaTrader exports: MT4 without a header (`2019.07.08,06:25,O,H,L,C,V`), MT5 with `<DATE> <TIME> <OPEN> …`.

The stamps are the broker's clock. Bars are bid bars: both platforms draw and export the bid. Prices may be points; the
scale is told later, from the prices themselves.
"""

from __future__ import annotations

import re

import pandas as pd

from fxgpt_core.market.files.layouts.columns import Roles
from fxgpt_core.market.files.layouts.csv import by_role, read_with_header
from fxgpt_core.market.files.layouts.layout import OHLC, Layout, Member, RawTable
from fxgpt_core.market.files.layouts.text import DELIMITERS, read_columns, usual_width

_SIDE_HOW = "MetaTrader exports bid bars"
_DATE = r"\d{4}\.\d\d\.\d\d"
_TIME = r"\d\d:\d\d(:\d\d)?"


def _is_mt4(member: Member) -> bool:
    if not member.is_text or not member.head.rows:
        return False
    first = member.head.rows[0]
    split = len(first) >= 6 and re.fullmatch(_DATE, first[0]) and re.fullmatch(_TIME, first[1])
    return bool(split or re.fullmatch(f"{_DATE} {_TIME}", first[0]))


def _read_mt4(member: Member) -> RawTable:
    head = member.head
    split = re.fullmatch(_DATE, head.rows[0][0]) is not None
    names = ["date", *(["time"] if split else []), *OHLC, "volume"]
    width = usual_width(head.rows)
    names = [*names, *(f"extra{i}" for i in range(width - len(names)))][:width]
    values = [name for name in (*OHLC, "volume") if name in names]
    frame: pd.DataFrame = read_columns(member.text, head.delimiter, names, values, header=False)
    meaning = Roles({**{name: name for name in values}, "stamp": "date", **({"time": "time"} if split else {})}, "", "")
    return RawTable(
        by_role(frame, meaning), "mt4", delimiter=DELIMITERS[head.delimiter], side="bid", side_how=_SIDE_HOW
    )


def _is_mt5(member: Member) -> bool:
    if not member.is_text or not member.head.has_header:
        return False
    return all(re.fullmatch("<.+>", name) for name in member.head.rows[0] if name)


def _read_mt5(member: Member) -> RawTable:
    return read_with_header(member, "mt5", "bid", _SIDE_HOW)


MT4 = Layout("mt4", _is_mt4, _read_mt4)
MT5 = Layout("mt5", _is_mt5, _read_mt5)
