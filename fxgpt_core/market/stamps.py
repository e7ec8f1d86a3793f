"""Time stamps of files: their format, and whether they name their own offset from UTC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.zones import Times

_FORMATS = (
    "%Y%m%d %H%M%S",
    "%Y.%m.%d %H:%M:%S",
    "%Y.%m.%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%Y.%m.%d",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
)
_SLASHED = ("%H:%M:%S", "%H:%M", "")
_OFFSET = r"(?:Z|UTC|GMT|(?:GMT|UTC)?\s?[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True)
class Stamps:
    """`times`: (rows,) datetime64[ns], NaT where unreadable; `is_utc` says that the stamps named their offset (then
    `times` are UTC), otherwise they are a wall clock that is still to be named."""

    times: Times
    is_utc: bool
    format: str


def parse_stamps(column: pd.Series, where: str) -> Stamps:
    """Read a column of stamps (text, datetimes or epoch numbers as text).

    Raises BadInputError when no known format fits nine in ten of the first stamps, or when day and month are ambiguous.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return Stamps(_naive(column.dt.tz_convert("UTC").dt.tz_localize(None)), True, "timestamp with zone")
    if np.issubdtype(column.dtype, np.datetime64):
        return Stamps(_naive(column), False, "timestamp without zone")
    text = column.astype("string").str.strip().fillna("")
    head = text[text != ""].head(200)
    if head.empty:
        raise BadInputError(f"{where}: the time column is empty.")
    if head.str.fullmatch(r"\d{10}|\d{13}").mean() > 0.9:
        unit = "s" if head.str.len().median() == 10 else "ms"
        numbers = pd.to_numeric(text, errors="coerce")
        return Stamps(_naive(pd.to_datetime(numbers, unit=unit, errors="coerce")), True, f"epoch {unit}")
    if head.str.contains(_OFFSET, regex=True).mean() > 0.9:
        plain = text.str.replace(r"\s?(?:GMT|UTC)?\s?(?=[+-]\d\d:?\d\d$)", "", regex=True).str.replace(
            r"\s?(?:UTC|GMT)$", "Z", regex=True
        )
        return _with_offset(plain, where)
    text = text.str.replace("T", " ", n=1, regex=False)
    head = text[head.index]
    for form in (*_FORMATS, *_slashed_formats(text)):
        if pd.to_datetime(head, format=form, errors="coerce").notna().mean() >= 0.9:
            return Stamps(_naive(pd.to_datetime(text, format=form, errors="coerce")), False, form)
    raise BadInputError(f"{where}: the time stamps (first: {head.iloc[0]!r}) are in no known format.")


def _with_offset(text: pd.Series, where: str) -> Stamps:
    for form in ("ISO8601", "%d.%m.%Y %H:%M:%S.%f%z", "%d.%m.%Y %H:%M:%S%z"):
        parsed = pd.to_datetime(text, format=form, utc=True, errors="coerce")
        if parsed.notna().mean() >= 0.5:
            return Stamps(_naive(parsed.dt.tz_localize(None)), True, f"{form} with offset")
    raise BadInputError(f"{where}: the time stamps (first: {text.iloc[0]!r}) are in no known format.")


def _slashed_formats(text: pd.Series) -> list[str]:
    """Return formats of 03/04/2020 stamps, once the numbers have shown which of the two is the day."""
    parts = text.str.extract(r"^(\d{1,2})/(\d{1,2})/\d{4}").dropna().astype(int)
    if parts.empty:
        return []
    day_first, month_first = parts[0].max() > 12, parts[1].max() > 12
    if day_first == month_first:
        raise BadInputError(f"Stamps such as {text.iloc[0]!r} do not show which number is the month: write 2020-04-03.")
    date = "%d/%m/%Y" if day_first else "%m/%d/%Y"
    return [f"{date} {time}".strip() for time in _SLASHED]


def _naive(times: pd.Series) -> Times:
    return np.asarray(times.to_numpy(dtype="datetime64[ns]"))
