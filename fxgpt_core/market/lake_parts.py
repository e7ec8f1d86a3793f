"""Tables as parts of the lake: Parquet bytes, merging by a column, appending, and reading only the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.store.storage import Source

TAIL_ROWS = 2048
"""Rows of the last row group: whoever wants the last bars decodes these alone, and the file grows by a per cent."""


class DamagedPartError(StoreError):
    """A part whose file is there and cannot be read as a table."""


def encode(table: pa.Table) -> bytes:
    """Return a table as a Parquet file (zstd, a checksum a page), its last rows in a row group of their own.

    Times are stored as differences: on minute bars that makes files 40 % smaller and a quarter faster than the default.
    Single floats (features) are split by bytes: files a third smaller and written in half the time of a dictionary.
    """
    sink = pa.BufferOutputStream()
    body = len(table) - TAIL_ROWS if len(table) > 2 * TAIL_ROWS else 0
    encodings = {field.name: "DELTA_BINARY_PACKED" for field in table.schema if pa.types.is_timestamp(field.type)}
    encodings |= {field.name: "BYTE_STREAM_SPLIT" for field in table.schema if pa.types.is_float32(field.type)}
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings or None,
        write_page_checksum=True,
    ) as file:
        if body:
            file.write_table(table.slice(0, body))
        file.write_table(table.slice(body))
    return bytes(sink.getvalue().to_pybytes())


def decode(source: Source, where: str, columns: Sequence[str] | None = None, rows: int | None = None) -> pa.Table:
    """Return a part's table, of `columns` only and at most its last `rows` rows.

    Raises DataError naming columns that it has not, DamagedPartError when the file is damaged.
    """
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            absent = sorted(set(columns or ()) - set(file.schema_arrow.names))
            if absent:
                raise DataError(f"{where} has no column {', '.join(absent)}; it has {file.schema_arrow.names}.")
            wanted = None if columns is None else list(columns)
            if rows is None:
                return file.read(columns=wanted)
            groups, found = file.metadata.num_row_groups, 0
            first = groups
            while first and found < rows:
                first -= 1
                found += file.metadata.row_group(first).num_rows
            return file.read_row_groups(list(range(first, groups)), columns=wanted).slice(max(found - rows, 0))
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StoreError(f"{where} cannot be read: {error.strerror}.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).rstrip(".")
        raise DamagedPartError(f"{where} cannot be read ({reason}): `fxgpt check data` says how to mend it.") from error


def merge(old: pa.Table, new: pa.Table, on: str, where: str) -> tuple[pa.Table, int]:
    """Return both tables as one sorted by `on`, new rows over old, and how many rows are new or differ."""
    try:
        new = new.select(old.column_names).cast(old.schema)
    except (KeyError, ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"Lake {where}: columns {new.column_names} do not fit {old.column_names} ({error}).") from error
    if _follows(old[on], new[on]):
        return pa.concat_tables([old, new]), len(new)
    both = pa.concat_tables([old, new]).combine_chunks()
    values = both[on].to_numpy(zero_copy_only=False)
    _, first = np.unique(values[::-1], return_index=True)
    rows = len(values) - 1 - first  # the last row of each key, keys ascending
    merged = both.take(rows)
    replaced = rows >= len(old)
    # Not NumPy's isin: on text it compares every key with every other.
    known = pc.is_in(merged[on], value_set=old[on]).to_numpy(zero_copy_only=False)
    touched = np.flatnonzero(replaced & known)
    before = old.take(pc.index_in(merged[on].take(touched), value_set=old[on]))
    after = merged.take(touched)
    same = np.ones(len(touched), dtype=bool)
    for name in old.column_names:
        same &= _equal(before[name], after[name])
    return merged, int((replaced & ~known).sum() + (~same).sum())


def _follows(old: pa.ChunkedArray, new: pa.ChunkedArray) -> bool:
    """Tell whether all new keys lie after all old ones and both are in order: then merging is appending."""
    if not len(new) or old.null_count or new.null_count:
        return False
    before, after = old.to_numpy(zero_copy_only=False), new.to_numpy(zero_copy_only=False)
    if after.dtype.kind not in "iufM":
        return False
    ascending = bool((before[1:] > before[:-1]).all() and (after[1:] > after[:-1]).all())
    return ascending and (not len(before) or bool(after[0] > before[-1]))


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return where two columns hold the same value; null equals null and NaN equals NaN."""
    equal = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left, nan_is_null=True), pc.is_null(right, nan_is_null=True))
    same: Any = pc.or_(equal, both_null).to_numpy(zero_copy_only=False)
    return np.asarray(same, dtype=bool)
