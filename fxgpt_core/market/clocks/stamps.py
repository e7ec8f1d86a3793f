"""Time stamps of files: their format, and whether they name their own offset from UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.zones import Times

_FORMATS = (
    "%Y%m%d %H%M%S",
    "%Y%m%d %H%M%S%f",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d %H:%M",
    "%Y%m%d %H%M",
    "%Y.%m.%d %H:%M:%S",
    "%Y.%m.%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
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
_OFFSET = re.compile(r"\s?(?:Z|UTC|GMT|(?:GMT|UTC)?\s?[+-]\d{2}:?\d{2})$")
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 3}
_OFFSET_FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S.%f",
                 "%d.%m.%Y %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M")  # fmt: skip


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
    if isinstance(column.dtype, np.dtype) and np.issubdtype(column.dtype, np.datetime64):
        return Stamps(_naive(column), False, "timestamp without zone")
    text = _text(column)
    filled = text.filter(pc.not_equal(text, ""))
    head = [str(value) for value in filled.slice(0, 200).to_pylist()]
    if not head:
        raise BadInputError(f"{where}: the time column is empty.")
    if _share(r"\d{10}|\d{13}", head) > 0.9:
        unit = "s" if sorted(map(len, head))[len(head) // 2] == 10 else "ms"
        numbers = pd.to_numeric(text.to_pandas(), errors="coerce")
        return Stamps(_naive(pd.to_datetime(numbers, unit=unit, errors="coerce")), True, f"epoch {unit}")
    if np.mean([_OFFSET.search(value) is not None for value in head]) > 0.9:
        return _with_offset(text, head, where)
    head = [value.replace("T", " ", 1) for value in head]
    for form in (*_FORMATS, *_slashed_formats(text, head, where)):
        if np.mean(~np.isnat(_parse(pa.array(head), form))) >= 0.9:
            return Stamps(_parse(text, form), False, form)
    raise BadInputError(f"{where}: the time stamps (first: {head[0]!r}) are in no known format.")


def _parse(text: pa.Array, form: str) -> Times:
    """Return the instants of stamps of one format, also of those that leave out leading zeros."""
    times = parse_fixed(text, form)
    rest = np.isnat(times) & pc.not_equal(text, "").to_numpy(zero_copy_only=False)
    if rest.any():
        others = text.filter(pa.array(rest)).to_pandas().str.replace("T", " ", n=1, regex=False)
        times[rest] = _naive(pd.to_datetime(others, format=form, errors="coerce"))
    return times


def parse_fixed(text: pa.Array, form: str) -> Times:
    """Return the instants of fixed-width stamps such as `%Y-%m-%d %H:%M:%S`, NaT for others: (rows,) datetime64[ns].

    `%f` are three digits; a `T` may stand for the space. Reads the digits of all rows of one length at once: half a
    million stamps take a few milliseconds.
    """
    width, fields, marks = _template(form)
    out = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[ns]")
    rows = _fixed_rows(text, width)
    if rows is None:
        return out
    at, digits = rows
    good = np.ones(len(at), dtype=bool)
    for position, mark in marks:
        byte = digits[:, position]
        good &= (byte == ord(mark)) | ((byte == ord("T")) if mark == " " else False)
    values = {}
    for name, (start, size) in fields.items():
        number = np.zeros(len(at), dtype=np.int64)
        for position in range(start, start + size):
            digit = digits[:, position].astype(np.int64) - ord("0")
            good &= (digit >= 0) & (digit <= 9)
            number = number * 10 + digit
        values[name] = number
    good &= _possible(values)
    out[at[good]] = _instants({name: number[good] for name, number in values.items()})
    return out


def _template(form: str) -> tuple[int, dict[str, tuple[int, int]], list[tuple[int, str]]]:
    """Return the width of a format, where its numbers stand (name -> start, digits) and its marks (position, mark)."""
    fields, marks, position = {}, [], 0
    for name, mark in re.findall(r"%(\w)|(.)", form):
        if name:
            fields[name] = (position, _WIDTHS[name])
            position += _WIDTHS[name]
        else:
            marks.append((position, mark))
            position += 1
    return position, fields, marks


def _fixed_rows(text: pa.Array, width: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
    """Return the indices of texts of `width` bytes and their bytes (rows, width); None where there are none."""
    lengths = pc.binary_length(text).to_numpy(zero_copy_only=False)
    at = np.flatnonzero(lengths == width)
    if not len(at):
        return None
    same = text if len(at) == len(text) else text.take(pa.array(at))
    offsets = np.frombuffer(same.buffers()[1], np.int32 if pa.types.is_string(same.type) else np.int64)
    first = int(offsets[same.offset])
    data = np.frombuffer(same.buffers()[2], np.uint8, len(at) * width, first)
    return at, data.reshape(len(at), width)


def _possible(values: dict[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
    year, month, day = (values[name] for name in "Ymd")
    good = (year >= 1970) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    for name, limit in (("H", 24), ("M", 60), ("S", 60)):
        if name in values:
            good &= values[name] < limit
    return np.asarray(good)


def _instants(values: dict[str, NDArray[np.int64]]) -> Times:
    months = (values["Y"] - 1970) * 12 + values["m"] - 1
    first = months.astype("datetime64[M]")
    days = first.astype("datetime64[D]") + (values["d"] - 1)
    zero = np.zeros(len(months), dtype=np.int64)
    seconds = values.get("H", zero) * 3600 + values.get("M", zero) * 60 + values.get("S", zero)
    millis = seconds * 1000 + values.get("f", zero)
    times = days.astype("datetime64[ns]") + (millis * 1_000_000).astype("timedelta64[ns]")
    times[days.astype("datetime64[M]") != first] = np.datetime64("NaT")  # the 31st of a shorter month
    return np.asarray(times)


def _text(column: pd.Series) -> pa.Array:
    """Return a column as trimmed text, empty where there is none."""
    made = pa.array(column, from_pandas=True)
    if isinstance(made, pa.ChunkedArray):
        made = made.combine_chunks()
    return pc.fill_null(pc.utf8_trim_whitespace(made.cast(pa.string())), "")


def _share(pattern: str, head: list[str]) -> float:
    return float(np.mean([re.fullmatch(pattern, value) is not None for value in head]))


def _with_offset(text: pa.Array, head: list[str], where: str) -> Stamps:
    """Read stamps that end in Z, UTC, GMT+0000, +02:00: most rows share one format and few offsets."""
    suffix = _OFFSET.search(head[0])
    width = 0 if suffix is None else suffix.end() - suffix.start()
    stem = head[0][: len(head[0]) - width].replace("T", " ", 1)
    form = next((f for f in _OFFSET_FORMS if not np.isnat(parse_fixed(pa.array([stem]), f))[0]), None)
    times = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[ns]")
    if form is not None and width:
        ends = pc.utf8_slice_codeunits(text, -width)
        of_length = pc.equal(pc.utf8_length(text), len(head[0]))
        local = parse_fixed(pc.utf8_slice_codeunits(text, 0, len(stem)), form)
        for ending in pc.unique(ends.filter(of_length)).to_pylist()[:60]:
            matched = _OFFSET.fullmatch(ending)
            if matched is not None:
                rows = pc.and_(pc.equal(ends, ending), of_length).to_numpy(zero_copy_only=False)
                times[rows] = local[rows] - _offset(ending)
    rest = np.isnat(times) & pc.not_equal(text, "").to_numpy(zero_copy_only=False)
    if rest.any():
        times[rest] = _by_pandas(text.filter(pa.array(rest)).to_pandas())
    if np.mean(~np.isnat(times)) < 0.5:
        raise BadInputError(f"{where}: the time stamps (first: {head[0]!r}) are in no known format.")
    return Stamps(times, True, f"{form or 'ISO8601'} with offset")


def _offset(ending: str) -> np.timedelta64:
    """Return the offset from UTC that a stamp's ending names."""
    found = re.search(r"([+-])(\d{2}):?(\d{2})$", ending)
    if found is None:
        return np.timedelta64(0, "ns")
    minutes = int(found[2]) * 60 + int(found[3])
    return np.timedelta64(minutes if found[1] == "+" else -minutes, "m")


def _by_pandas(text: pd.Series) -> Times:
    """Read what is in another format than most rows, NaT where it is none."""
    plain = text.str.replace(r"\s?(?:GMT|UTC)?\s?(?=[+-]\d\d:?\d\d$)", "", regex=True)
    plain = plain.str.replace(r"\s?(?:UTC|GMT)$", "Z", regex=True)
    out = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[ns]")
    for form in ("ISO8601", "%d.%m.%Y %H:%M:%S.%f%z", "%d.%m.%Y %H:%M:%S%z"):
        # Only what names an offset is read: a naive stamp among them would silently pass for UTC.
        named = plain.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).to_numpy(dtype=bool)
        open_rows = np.isnat(out) & named
        if open_rows.any():
            parsed = pd.to_datetime(plain[open_rows], format=form, utc=True, errors="coerce")
            out[open_rows] = _naive(parsed.dt.tz_localize(None))
    return out


def _slashed_formats(text: pa.Array, head: list[str], where: str) -> list[str]:
    """Return formats of 03/04/2020 stamps, once the numbers have shown which of the two is the day."""
    if _share(r"\d{1,2}/\d{1,2}/\d{4}.*", head) < 0.5:
        return []
    parts = pc.extract_regex(text, r"^(?P<a>\d{1,2})/(?P<b>\d{1,2})/\d{4}")
    numbers = [pc.struct_field(parts, name).drop_null().cast(pa.int64()) for name in "ab"]
    day_first, month_first = (pc.max(column).as_py() > 12 for column in numbers)
    if day_first == month_first:
        raise BadInputError(
            f"{where}: stamps such as {head[0]!r} do not show which number is the month: write 2020-04-03."
        )
    date = "%d/%m/%Y" if day_first else "%m/%d/%Y"
    return [f"{date} {time}".strip() for time in _SLASHED]


def _naive(times: pd.Series) -> Times:
    return np.asarray(times.to_numpy(dtype="datetime64[ns]"))
