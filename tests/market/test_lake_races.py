"""Many processes on one lake: eight write months of their own, eight the same month, eight read; nothing tears."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fxgpt_core.market.lake import Lake, Manifest, PartEntry

KEYS = {"symbol": "EURUSD", "timeframe": "1m"}
SHARED = "month=2024-12"
_ROWS, _ROUNDS = 40, 12


def _rows(minutes: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Table:
    """Return rows whose every column tells of their minute, so that a mixed row gives itself away."""
    stamps = pa.array(minutes * 60_000_000, pa.timestamp("us", tz="UTC"))
    return pa.table({"ts_utc": stamps, "open": minutes * 1.0, "close": minutes * 3.0})


def _minutes(writer: int, round_: int, writers: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return minutes that only this writer writes, lying between those of the others."""
    return (np.arange(_ROWS, dtype=np.int64) + round_ * _ROWS) * writers + writer


def _write_own_month(root: str, writer: int, writers: int) -> None:
    lake, part = Lake(root), f"month=2024-{writer + 1:02d}"
    for round_ in range(_ROUNDS):
        lake.upsert("candles", KEYS, part, _rows(_minutes(writer, round_, writers)))
        with lake.lock("candles", KEYS):
            manifest = lake.read_manifest("candles", KEYS) or Manifest("", "")
            entry = PartEntry(f"after round {round_}", (round_ + 1) * _ROWS)
            lake.write_manifest("candles", KEYS, replace(manifest, parts={**manifest.parts, part: entry}))


def _write_shared_month(root: str, writer: int, writers: int) -> None:
    lake = Lake(root)
    for round_ in range(_ROUNDS):
        assert lake.upsert("candles", KEYS, SHARED, _rows(_minutes(writer, round_, writers))) == _ROWS


def _read(root: str, stop: Any) -> None:
    """Read until told to stop: rows are whole, in order and never become fewer; so are manifests and views."""
    lake, before, counted, listed, rounds = Lake(root), dict[str, int](), 0, 0, 0
    while not stop.is_set() or rounds < 2:
        for part in lake.parts("candles", KEYS):
            rows = _whole(lake.read("candles", KEYS, [part]))
            assert rows >= before.get(part, 0), part
            before[part] = rows
            assert _whole(lake.tail("candles", KEYS, 10, [part])) == 10
        manifest = lake.read_manifest("candles", KEYS)
        rows = 0 if manifest is None else manifest.rows
        assert rows >= listed
        listed = rows
        if before:
            answer = lake.query("SELECT count(*) AS n, count(*) FILTER (close != 3 * open) AS bad FROM candles")
            found = answer.to_pylist()[0]
            assert found["bad"] == 0
            assert found["n"] >= counted
            counted = found["n"]
        rounds += 1


def _whole(table: pa.Table) -> int:
    minutes = table["ts_utc"].cast(pa.int64()).to_numpy() // 60_000_000
    assert (np.diff(minutes) > 0).all()
    assert (table["open"].to_numpy() == minutes).all()
    assert (table["close"].to_numpy() == 3 * minutes).all()
    return len(table)


@pytest.mark.parametrize("each", [2, pytest.param(8, marks=pytest.mark.deep)])
def test_no_read_is_torn_and_no_row_is_lost(each: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    stop, root = context.Event(), str(tmp_path)
    writers = [
        context.Process(target=write, args=(root, writer, each))
        for write in (_write_own_month, _write_shared_month)
        for writer in range(each)
    ]
    readers = [context.Process(target=_read, args=(root, stop)) for _ in range(each)]
    for process in (*writers, *readers):
        process.start()
    for writer in writers:
        writer.join(240)
    stop.set()
    for reader in readers:
        reader.join(60)
    assert [process.exitcode for process in (*writers, *readers)] == [0] * 3 * each
    lake = Lake(tmp_path)
    assert _whole(lake.read("candles", KEYS, [SHARED])) == each * _ROUNDS * _ROWS
    manifest = lake.read_manifest("candles", KEYS)
    assert manifest is not None
    assert len(manifest.parts) == each
    for part, entry in manifest.parts.items():
        assert _whole(lake.read("candles", KEYS, [part])) == entry.rows == _ROUNDS * _ROWS
    assert lake.storage.sweep().leftovers == ()
