"""Which table a file holds: text with or without header, HistData, MetaTrader, Parquet (SPEC 21)."""

from __future__ import annotations

import difflib
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import bytes_hash

LAYOUTS = ("csv", "parquet", "histdata", "mt4", "mt5_points")
_COLUMNS = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last"),
    "volume": ("tickvolume", "tickvol", "ticks", "volume", "vol", "v"),
    "spread": ("spread",),
}
_TIME = (
    "tsutc",
    "timeutc",
    "datetimeutc",
    "timestamp",
    "datetime",
    "gmttime",
    "opentime",
    "date",
    "time",
    "localtime",
    "ts",
    "",
)
_HISTDATA = ("stamp", "open", "high", "low", "close", "volume")
_MT4 = ("date", "time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class RawTable:
    """A file's rows before anything is judged.

    `frame`: `stamp` (text or datetime), OHLC and, where given, volume and spread (text or numbers), `malformed` (bool:
    a wrong number of fields). `layout` is one of LAYOUTS; `named_utc` says that the time column's name claims UTC.
    """

    frame: pd.DataFrame
    layout: str
    named_utc: bool
    checksum: str


def read_table(path: Path, layout: str | None = None) -> RawTable:
    """Recognise and read a file; `layout` insists on one of LAYOUTS.

    Raises BadInputError when the file is empty, binary, without a known delimiter or header, or of another layout.
    """
    if layout is not None and layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1)
        raise BadInputError(f"Unknown layout {layout!r}: use one of {', '.join(near or LAYOUTS)}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}.") from error
    if not data.strip():
        raise BadInputError(f"{path} is empty.")
    if data[:4] == b"PAR1":
        frame, found, named_utc = _parquet(path, data)
    else:
        frame, found, named_utc = _text(path, _decode(path, data))
    if layout is not None and layout != found and {layout, found} != {"csv", "mt5_points"}:
        raise BadInputError(f"{path} looks like layout {found}, not {layout}: leave --layout out or name that one.")
    if frame.empty:
        raise BadInputError(f"{path} has no rows.")
    return RawTable(frame, layout or found, named_utc, bytes_hash(data))


def _decode(path: Path, data: bytes) -> str:
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        if b"\x00" not in data:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # said below, with the files that hold zero bytes
    raise BadInputError(f"{path} is a binary file, neither a text table nor Parquet; unpack archives first.")


def _text(path: Path, text: str) -> tuple[pd.DataFrame, str, bool]:
    head = [line for line in text[:20_000].splitlines()[:50] if line.strip()]
    delimiter = _delimiter(path, head)
    rows = [[field.strip().strip('"') for field in line.split(delimiter)] for line in head]
    names, layout, header = _names(path, rows)
    if header and len(text.strip().splitlines()) == 1:
        raise BadInputError(f"{path} has a header but no rows.")
    width = Counter(len(row) for row in rows[1 if header else 0 :] or rows).most_common(1)[0][0]
    names = [*names, *(f"extra{i}" for i in range(width - len(names)))][: max(width, len(names))]
    frame = _parse(text, delimiter, names, header)
    roles, named_utc = _roles(path, names)
    out = pd.DataFrame({role: frame[column] for role, column in roles.items() if role not in ("stamp", "time")})
    stamp = frame[roles["stamp"]]
    out.insert(0, "stamp", stamp + " " + frame[roles["time"]] if "time" in roles else stamp)
    for name in set(out.columns) - {"stamp"}:
        if delimiter != "," and out[name].str.fullmatch(r"-?\d+,\d+").mean() > 0.5:
            out[name] = out[name].str.replace(",", ".", n=1, regex=False)
    out["malformed"] = frame["malformed"]
    return out, layout, named_utc


def _delimiter(path: Path, head: list[str]) -> str:
    for delimiter in (";", "\t", ","):
        if np.mean([line.count(delimiter) >= 4 for line in head]) >= 0.8:
            return delimiter
    other = next((mark for mark in ("|", " ", ":") if head[0].count(mark) >= 4), None)
    what = f"its fields seem to be separated by {other!r}" if other else f"its first line is {head[0][:60]!r}"
    raise BadInputError(f"{path} is no table of comma-, semicolon- or tab-separated prices: {what}.")


def _names(path: Path, rows: list[list[str]]) -> tuple[list[str], str, bool]:
    """Return the column names, the layout, and whether the first line is a header."""
    first = rows[0]
    if not any(_is_number(field) for field in first[1:]):
        return first, "csv", True
    if re.fullmatch(r"\d{8} \d{6}", first[0]) and len(first) >= 5:
        return list(_HISTDATA[: len(first)]), "histdata", False
    if re.fullmatch(r"\d{4}\.\d\d\.\d\d", first[0]) and re.fullmatch(r"\d\d:\d\d(:\d\d)?", first[1]):
        return list(_MT4[: len(first)]), "mt4", False
    if re.fullmatch(r"\d{4}\.\d\d\.\d\d \d\d:\d\d(:\d\d)?", first[0]):
        return list(_HISTDATA[: len(first)]), "mt4", False
    raise BadInputError(
        f"{path} has no header and is neither HistData nor MetaTrader (first line: {','.join(first)[:60]!r}): "
        "add a header such as time,open,high,low,close,volume."
    )


def _is_number(field: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?", field) is not None


def _parse(text: str, delimiter: str, names: list[str], header: bool) -> pd.DataFrame:
    """Return all fields as text; rows with a wrong number of fields come last, as `malformed`, whole in column 0."""
    broken: list[str] = []

    def keep(row: pa.csv.InvalidRow) -> str:
        broken.append(row.text)
        return "skip"

    columns = [f"c{i}" for i in range(len(names))]
    table = pa.csv.read_csv(
        io.BytesIO(text.encode()),
        read_options=pa.csv.ReadOptions(column_names=columns, skip_rows=_skipped(text) + int(header)),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=keep),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
        ),
    )
    frame = table.to_pandas()
    frame["malformed"] = False
    if broken:
        rest = pd.DataFrame("", index=range(len(broken)), columns=columns).assign(c0=broken, malformed=True)
        frame = pd.concat([frame, rest], ignore_index=True)
    unique = [name if name not in names[:i] else f"{name}.{i}" for i, name in enumerate(names)]
    return frame.rename(columns=dict(zip(columns, unique, strict=True)))


def _skipped(text: str) -> int:
    """Return the number of blank lines before the first line."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _roles(path: Path, names: list[str]) -> tuple[dict[str, str], bool]:
    """Return role -> column for stamp, (time), OHLC, volume, spread; and whether the time column's name claims UTC."""
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(names)}
    roles = {}
    for role, spellings in _COLUMNS.items():
        found = next((plain[s] for s in spellings if s in plain), None)
        if found is not None:
            roles[role] = found
    stamp = "stamp" if "stamp" in plain else next((name for name in _TIME if name in plain), None)
    missing = [role for role in ("open", "high", "low", "close") if role not in roles]
    if stamp is None or missing:
        lacking = ", ".join([*(["a time column"] if stamp is None else []), *missing])
        raise BadInputError(f"{path} lacks {lacking}; its columns are {', '.join(map(repr, names))}.")
    roles["stamp"] = plain[stamp]
    if stamp == "date" and "time" in plain:
        roles["time"] = plain["time"]
    return roles, stamp.endswith("utc") or stamp == "gmttime"


def _parquet(path: Path, data: bytes) -> tuple[pd.DataFrame, str, bool]:
    try:
        frame = pq.read_table(io.BytesIO(data)).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0]}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    roles, named_utc = _roles(path, [str(name) for name in frame.columns])
    if "time" in roles:
        raise BadInputError(f"{path} splits date and time into two columns: join them into one.")
    out = pd.DataFrame({role: frame[column] for role, column in roles.items()})
    return out.assign(malformed=False), "parquet", named_utc
