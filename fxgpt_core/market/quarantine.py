"""Rows that could not be used, as they came, with their reason; and which of them still stand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.lake import Lake

QUARANTINE = "quarantine"
_TEXT = ("stamp", "open", "high", "low", "close", "volume", "spread")


def store_quarantine(lake: Lake, symbol: str, bar: Timeframe, rows: pd.DataFrame, name: str, checksum: str) -> None:
    """Keep the quarantined rows of one file; importing it again changes nothing.

    A source that comes in pieces (a provider's month) adds to its rows.

    `rows`: the file's row number, `ts_utc` (NaT where unreadable), `reason`, and the fields as they stood.
    """
    if rows.empty:
        return
    text = {field: rows[field].astype(str) if field in rows.columns else pd.Series(None, rows.index) for field in _TEXT}
    table = pa.table(
        {
            "row": pa.array(rows["row"].to_numpy(), pa.int64()),
            "ts_utc": pa.array(rows["ts_utc"].dt.tz_convert("UTC"), pa.timestamp("us", tz="UTC")),
            **{field: pa.array(column, pa.string(), from_pandas=True) for field, column in text.items()},
            "reason": pa.array(rows["reason"], pa.string()),
            "bar": pa.array([bar.code] * len(rows)),
            "source": pa.array([name] * len(rows)),
            "checksum": pa.array([checksum] * len(rows)),
        }
    )
    bucket = f"bucket={stable_hash(checksum)[0]}"  # sixteen parts a symbol, however many files come
    lake.change(QUARANTINE, {"symbol": symbol}, bucket, partial(_with_rows, table))


def _with_rows(new: pa.Table, known: pa.Table | None) -> pa.Table | None:
    """Return known rows and new ones, None where all of them are known."""
    if known is None:
        return new
    both = pa.concat_tables([known, new.cast(known.schema)])
    united = both.group_by(both.column_names, use_threads=False).aggregate([])
    return united if len(united) > len(known) else None


def standing_quarantine(
    lake: Lake, symbol: str, bar: Timeframe, files: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Return the quarantined rows that no later file has replaced: `ts_utc` (UTC, may be NaT), `reason`, and
    the row's fields as they stood (text or None).

    Of several files that cover a moment the last one imported speaks for it: a mended or longer export takes the place
    of the one before, whose bad rows then count no more. A row without a readable time belongs to its file's whole
    span. `files`: checksum -> facts with `order`, `first` and `last` as the manifest has them.
    """
    empty = pd.DataFrame({"ts_utc": pd.DatetimeIndex([], tz="UTC"), "reason": pd.Series([], dtype=str)})
    empty = empty.assign(**{field: empty["reason"] for field in _TEXT})
    keys = {"symbol": symbol}
    if not lake.parts(QUARANTINE, keys):
        return empty
    table = lake.read(QUARANTINE, keys, columns=["ts_utc", "reason", *_TEXT, "bar", "checksum"])
    table = table.filter(pc.equal(table["bar"], bar.code))
    standing = []
    for checksum, facts in files.items():
        rows = table.filter(pc.equal(table["checksum"], checksum)).drop_columns(["bar", "checksum"]).to_pandas()
        if len(rows):
            standing.append(rows[~_replaced(rows["ts_utc"], facts, files)])
    return pd.concat(standing, ignore_index=True) if standing else empty


def unsorted_rows(files: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return month -> rows that came out of order, over all files of a manifest (checksum -> facts)."""
    out: dict[str, int] = {}
    for facts in files.values():
        for month, count in facts.get("unsorted", {}).items():
            out[month] = out.get(month, 0) + int(count)
    return out


def same_side(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two files (their facts) may speak for each other's bars: bid bars say nothing of ask bars."""
    sides = {one.get("price_side"), other.get("price_side")} - {None}
    return len(sides) < 2


def _replaced(times: pd.Series, facts: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> NDArray[np.bool_]:
    """Return which rows of a file lie in the span of a later one: (rows,)."""
    stamps = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    unknown, out = np.isnat(stamps), np.zeros(len(stamps), dtype=bool)
    for other in files.values():
        if other["first"] is None or other["order"] <= facts["order"] or not same_side(facts, other):
            continue
        first, last = np.datetime64(other["first"]), np.datetime64(other["last"])
        whole = facts["first"] is None or (
            first <= np.datetime64(facts["first"]) and last >= np.datetime64(facts["last"])
        )
        out |= np.where(unknown, whole, (stamps >= first) & (stamps <= last))
    return out
