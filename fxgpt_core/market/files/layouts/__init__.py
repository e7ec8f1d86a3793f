"""Layouts of files of bars and ticks, one file each; a new layout is one file and one line of `LAYOUTS` (SPEC 21)."""

from __future__ import annotations

import difflib

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts import csv, dukascopy, histdata, lean, metatrader, parquet
from fxgpt_core.market.files.layouts.layout import Layout, Member, RawTable
from fxgpt_core.market.files.layouts.text import refuse_delimiter

LAYOUTS: tuple[Layout, ...] = (
    parquet.LAYOUT,
    dukascopy.LAYOUT,
    histdata.BARS,
    histdata.TICKS,
    metatrader.MT4,
    metatrader.MT5,
    lean.LAYOUT,
    csv.LAYOUT,
)
"""Every layout, in the order in which they are tried: the particular ones before any text with a header."""

POINTS = "mt5_points"
"""What a table of prices in points is called; its columns are those of csv or mt5."""

_SAME = {POINTS: ("csv", "mt5", "mt4"), "dukascopy_ticks": ("dukascopy",)}


def layout_names() -> tuple[str, ...]:
    """Return the names that `--layout` takes."""
    return (*(layout.name for layout in LAYOUTS), POINTS)


def check_layout(name: str) -> None:
    """Raise BadInputError, with the nearest and all names, where `name` is no layout."""
    names = layout_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? There are" if near else "there are"
        raise BadInputError(f"Unknown layout {name!r}; {hint} {', '.join(sorted(names))}.")


def read_table(member: Member, layout: str | None = None) -> RawTable:
    """Recognise and read a file; `layout` insists on one of `layout_names()`.

    Raises BadInputError when the file is empty, binary, without a known delimiter or header, or of another layout.
    """
    if layout is not None:
        check_layout(layout)
    found = next((one for one in LAYOUTS if one.recognise(member)), None)
    if found is None:
        raise _unknown(member)
    if layout is not None and found.name != layout and found.name not in _SAME.get(layout, ()):
        raise BadInputError(
            f"{member.where} looks like layout {found.name}, not {layout}: leave --layout out or name that one."
        )
    table = found.read(member)
    if table.frame.empty and table.layout not in ("dukascopy", "dukascopy_ticks"):
        raise BadInputError(f"{member.where} has no rows.")
    return table


def _unknown(member: Member) -> BadInputError:
    if not member.data.strip():
        return BadInputError(f"{member.where} is empty.")
    head = member.head  # raises for a binary file
    if not head.lines:
        return BadInputError(f"{member.where} is empty.")
    if not head.delimiter:
        return refuse_delimiter(member.where, head)
    return BadInputError(
        f"{member.where} has no header and is no HistData, MetaTrader or Lean file (first line: "
        f"{head.lines[0][:60]!r}): add a header such as time,open,high,low,close,volume."
    )


__all__ = ["LAYOUTS", "POINTS", "Layout", "Member", "RawTable", "check_layout", "layout_names", "read_table"]
