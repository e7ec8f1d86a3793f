"""Delimited text: its encoding, its first lines, and its columns as numbers wherever all of them are numbers."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError

DELIMITERS = {";": "semicolon", "\t": "tab", ",": "comma"}
_TEXT = pd.ArrowDtype(pa.string())


@dataclass(frozen=True)
class Head:
    """The first lines that hold anything: as text, and split by the delimiter; `delimiter` is "" where none fits."""

    lines: tuple[str, ...]
    delimiter: str
    rows: tuple[tuple[str, ...], ...]

    @property
    def has_header(self) -> bool:
        """Whether the first line names columns: after its first field it has no number."""
        return bool(self.rows) and not any(is_number(field) for field in self.rows[0][1:])


def is_number(field: str) -> bool:
    """Return whether a field is a number, with a decimal point or comma."""
    return re.fullmatch(r"[+-]?\d*[.,]?\d+([eE][+-]?\d+)?", field) is not None


def decode(where: str, data: bytes) -> bytes:
    """Return text as UTF-8 without a byte-order mark; raises BadInputError for what is no text."""
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16").encode()
        if b"\x00" not in data[:100_000]:
            data.decode("utf-8")
            return data.removeprefix(b"\xef\xbb\xbf")
    except UnicodeDecodeError:
        pass  # said below, with the files that hold zero bytes
    raise BadInputError(f"{where} is a binary file, neither a text table nor Parquet nor an archive of such.")


def read_head(text: bytes) -> Head:
    """Return the first lines and the delimiter that four in five of them share."""
    start = text[:20_000].decode("utf-8", "ignore")
    lines = tuple(line for line in start.splitlines()[:50] if line.strip())
    if len(text) > 20_000 and len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut
    for delimiter in DELIMITERS:
        if lines and np.mean([line.count(delimiter) >= 4 for line in lines]) >= 0.8:
            split = csv.reader(lines, delimiter=delimiter)
            return Head(lines, delimiter, tuple(tuple(field.strip() for field in row) for row in split))
    return Head(lines, "", ())


def refuse_delimiter(where: str, head: Head) -> BadInputError:
    """Return the error about a text whose lines are no rows of a table."""
    first = head.lines[0] if head.lines else ""
    other = next((mark for mark in ("|", " ", ":") if first.count(mark) >= 4), None)
    what = f"its fields seem to be separated by {other!r}" if other else f"its first line is {first[:60]!r}"
    return BadInputError(f"{where} is no table of comma-, semicolon- or tab-separated prices: {what}.")


def usual_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the commonest number of fields."""
    return Counter(len(row) for row in rows).most_common(1)[0][0]


def read_columns(
    text: bytes, delimiter: str, names: Sequence[str], numbers: Sequence[str], header: bool
) -> pd.DataFrame:
    """Return every row as `line` (1-based), the named columns, and `malformed`, in the file's order.

    `numbers` become float64 where every row has a number there, and stay text otherwise, so that a bad value is kept as
    it stood. A row with another number of fields is `malformed`; its first column holds the whole line.
    """
    if b'"' in (text.split(b"\n", 1)[-1] if header else text):
        return _quoted(text, delimiter, names, numbers, header)
    starts, ends, counts, blanked = _lines(text, delimiter)
    filled = np.flatnonzero(ends > starts)[int(header) :]
    whole = counts[filled] == len(names) - 1
    good, broken = filled[whole], filled[~whole]
    as_it_stands = len(filled) and not len(broken) and not blanked
    body = text[starts[filled[0]] :] if as_it_stands else _join(text, starts, ends, good)
    frame = _typed(body, delimiter, names, numbers)
    frame.insert(0, "line", good + 1)
    frame["malformed"] = False
    if not len(broken):
        return frame
    lines = [text[starts[i] : ends[i]].decode("utf-8", "replace") for i in broken]
    return _with_malformed(frame, names, lines, broken + 1)


def _lines(text: bytes, delimiter: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Return where each line starts and ends (without its line end; equal for a blank one), its delimiters, and how
    many blank lines hold spaces."""
    raw = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(raw == 10)
    starts, ends = np.r_[0, breaks + 1], np.r_[breaks, len(raw)]
    ends = np.where((ends > starts) & (raw[np.maximum(ends - 1, 0)] == 13), ends - 1, ends)
    marks = np.flatnonzero(raw == ord(delimiter))
    counts = np.searchsorted(marks, ends) - np.searchsorted(marks, starts)
    blanked = 0
    for line in np.flatnonzero((counts == 0) & (ends > starts)):  # lines of spaces are blank too
        if not text[starts[line] : ends[line]].strip():
            ends[line] = starts[line]
            blanked += 1
    return starts, ends, counts, blanked


def _join(text: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], lines: NDArray[np.int64]) -> bytes:
    """Return the chosen lines alone."""
    if not len(lines):
        return b""
    cuts = np.flatnonzero(np.diff(lines) > 1)
    first, last = lines[np.r_[0, cuts + 1]], lines[np.r_[cuts, len(lines) - 1]]
    return b"\n".join(text[starts[a] : ends[b]] for a, b in zip(first, last, strict=True))


def _typed(body: bytes, delimiter: str, names: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    columns = [f"c{i}" for i in range(len(names))]
    wanted = {column for column, name in zip(columns, names, strict=True) if name in numbers}
    comma = delimiter != "," and _decimal_commas(body[:20_000].decode("utf-8", "ignore"), delimiter)
    if not body.strip():
        return pd.DataFrame({name: pd.Series([], dtype=_TEXT) for name in names})
    for floats in (wanted, set[str]()):
        types = {column: pa.float64() if column in floats else pa.string() for column in columns}
        try:
            table = pa.csv.read_csv(
                io.BytesIO(body),
                read_options=pa.csv.ReadOptions(column_names=columns, block_size=1 << 24),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, quote_char=False),
                convert_options=pa.csv.ConvertOptions(
                    column_types=types, strings_can_be_null=False, decimal_point="," if comma else "."
                ),
            )
        except pa.ArrowInvalid:
            if not floats:
                raise
            continue
        if all(table[column].null_count == 0 for column in floats):
            break
    out = {}
    for name, column in zip(names, columns, strict=True):
        values = table[column].combine_chunks() if table[column].num_chunks != 1 else table[column].chunk(0)
        if pa.types.is_string(values.type):
            text = pd.Series(values, dtype=_TEXT)
            out[name] = _plain_numbers(text, comma) if column in wanted else text
        else:
            out[name] = pd.Series(values.to_numpy(zero_copy_only=False))
    return pd.DataFrame(out)


def _decimal_commas(start: str, delimiter: str) -> bool:
    fields = [field for line in start.splitlines()[:50] for field in line.split(delimiter)[1:]]
    return sum(re.fullmatch(r"\s*-?\d+,\d+\s*", field) is not None for field in fields) > 0.3 * max(len(fields), 1)


def _plain_numbers(column: pd.Series, comma: bool) -> pd.Series:
    """Return numbers with a decimal point and without thousands separators; `comma`: the file has decimal commas."""
    plain = column.astype(str)
    decimal, thousands = (",", ".") if comma else (".", ",")
    grouped = plain.str.fullmatch(rf"\s*-?[1-9]\d{{0,2}}(?:[{thousands}]\d{{3}})+(?:[{decimal}]\d*)?\s*")
    if grouped.any():
        plain = plain.where(~grouped, plain.str.replace(thousands, "", regex=False))
    if not comma:
        return plain.astype(_TEXT) if grouped.any() else column
    commas = plain.str.fullmatch(r"\s*-?\d+,\d+\s*")
    return plain.where(~commas, plain.str.replace(",", ".", n=1, regex=False))


def _quoted(text: bytes, delimiter: str, names: Sequence[str], numbers: Sequence[str], header: bool) -> pd.DataFrame:
    """Read rows with quoted fields, in which a delimiter may stand: slower, and all of it as text."""
    reader = csv.reader(io.StringIO(text.decode(), newline=""), delimiter=delimiter)
    good: list[list[str]] = []
    good_lines: list[int] = []
    broken: list[str] = []
    broken_lines: list[int] = []
    for row in reader:
        if not any(field.strip() for field in row):
            continue
        if header:
            header = False
        elif len(row) == len(names):
            good.append(row)
            good_lines.append(reader.line_num)
        else:
            broken.append(delimiter.join(row))
            broken_lines.append(reader.line_num)
    frame = pd.DataFrame(good, columns=list(names), dtype=_TEXT)
    comma = _decimal_commas("\n".join(";".join(row) for row in good[:50]), ";")
    for name in numbers:
        frame[name] = _plain_numbers(frame[name], comma)
    frame.insert(0, "line", np.asarray(good_lines, dtype=np.int64))
    frame["malformed"] = False
    return _with_malformed(frame, names, broken, np.asarray(broken_lines)) if broken else frame


def _with_malformed(
    frame: pd.DataFrame, names: Sequence[str], lines: list[str], numbers: NDArray[np.int64]
) -> pd.DataFrame:
    rest = pd.DataFrame({"line": numbers, names[0]: pd.Series(lines, dtype=_TEXT), "malformed": True})
    both = pd.concat([frame, rest], ignore_index=True).sort_values("line", ignore_index=True)
    return both.astype({"malformed": bool})
