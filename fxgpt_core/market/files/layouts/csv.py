"""Delimited text with a header, from anywhere; also the tab-separated exports of MetaTrader 5 (`<DATE>\\t<TIME>…`)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow.compute as pc

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.columns import Roles, roles
from fxgpt_core.market.files.layouts.layout import Layout, Member, RawTable
from fxgpt_core.market.files.layouts.text import DELIMITERS, Head, read_columns, refuse_delimiter, usual_width


def _recognise(member: Member) -> bool:
    return member.is_text and member.head.has_header


def _read(member: Member) -> RawTable:
    return read_with_header(member, "csv")


def read_with_header(member: Member, layout: str, side: str = "", side_how: str = "") -> RawTable:
    """Read a text table whose first line names its columns."""
    head = member.head
    if not head.delimiter:
        raise refuse_delimiter(member.where, head)
    if len(head.lines) == 1:
        raise BadInputError(f"{member.where} has a header but no rows.")
    names = _distinct(head)
    meaning = roles(member.where, names)
    frame = read_columns(member.text, head.delimiter, names, meaning.numbers, header=True)
    stated = meaning.side or side
    return RawTable(
        by_role(frame, meaning),
        layout,
        kind="ticks" if meaning.kind == "ticks" else "bars",
        delimiter=DELIMITERS[head.delimiter],
        clock="UTC" if meaning.named_utc else "",
        clock_how=f"the name of the time column {meaning.named_utc!r} says so" if meaning.named_utc else "",
        side=stated,
        side_how=("from the header" if meaning.side else side_how) if stated else "",
    )


def by_role(frame: pd.DataFrame, meaning: Roles) -> pd.DataFrame:
    """Return the columns under the names of their roles, date and time joined into `stamp`."""
    stamp = frame[meaning.columns["stamp"]]
    if "time" in meaning.columns:
        stamp = _joined(stamp, frame[meaning.columns["time"]], frame["malformed"])
    values = {role: frame[name] for role, name in meaning.columns.items() if role not in ("stamp", "time")}
    return pd.DataFrame({"line": frame["line"], "stamp": stamp, **values, "malformed": frame["malformed"]})


def _joined(date: pd.Series, time: pd.Series, malformed: pd.Series) -> pd.Series:
    """Return `date time` of each row; the date alone (the whole line) where the row is malformed."""
    both = pc.binary_join_element_wise(date.array.__arrow_array__(), time.array.__arrow_array__(), " ")
    out = pd.Series(both, dtype=date.dtype)
    return out.where(~malformed, date) if malformed.any() else out


def _distinct(head: Head) -> list[str]:
    """Return the header's names, each once, as many as the rows have fields."""
    names: Sequence[str] = head.rows[0]
    width = usual_width(head.rows[1:])
    padded = [*names, *(f"extra{i}" for i in range(width - len(names)))][: max(width, len(names))]
    return [name if name not in padded[:i] else f"{name}.{i}" for i, name in enumerate(padded)]


LAYOUT = Layout("csv", _recognise, _read)
"""Any text table with a header."""
