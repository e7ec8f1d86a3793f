"""The lake: atomic parts, merging upserts, manifests, read-only queries."""

from __future__ import annotations

import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_helpers import bars

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.market.lake import Lake, Manifest, PartEntry

KEYS = {"symbol": "EURUSD", "timeframe": "1h"}
PART = "month=2024-01"


def _table(values: dict[int, float | None]) -> pa.Table:
    stamps = [datetime.fromtimestamp(3600 * hour, UTC) for hour in values]
    return pa.table(
        {
            "ts_utc": pa.array(stamps, pa.timestamp("us", tz="UTC")),
            "close": pa.array(list(values.values()), pa.float64()),
        }
    )


def _values(lake: Lake) -> dict[int, float | None]:
    rows = lake.read("candles", KEYS).to_pylist()
    return {int(row["ts_utc"].timestamp()) // 3600: row["close"] for row in rows}


ROWS = st.dictionaries(st.integers(0, 30), st.one_of(st.none(), st.floats(0.5, 2.0)), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=ROWS, new=ROWS)
def test_upsert_merges_like_a_dictionary_counts_changes_and_is_idempotent(
    old: dict[int, float | None], new: dict[int, float | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.write("candles", KEYS, PART, _table(old))
    changed = lake.upsert("candles", KEYS, PART, _table(new))
    assert changed == sum(key not in old or old[key] != value for key, value in new.items())
    assert lake.upsert("candles", KEYS, PART, _table(new)) == 0
    assert _values(lake) == old | new
    if changed:
        assert list(_values(lake)) == sorted(old | new)


def test_candles_come_back_bit_for_bit_with_their_time_zone(tmp_path: Path) -> None:
    lake, table = Lake(tmp_path), bars(50).to_arrow()
    lake.write("candles", KEYS, PART, table)
    again = lake.read("candles", KEYS)
    assert again.equals(table)
    assert again.schema.field("ts_utc").type == pa.timestamp("us", tz="UTC")


def test_parts_are_read_in_order_whatever_the_order_of_writing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("candles", KEYS, "month=2024-02", _table({2: 2.0}))
    lake.write("candles", KEYS, "month=2024-01", _table({1: 1.0}))
    assert list(_values(lake)) == [1, 2]
    assert lake.parts("candles", KEYS) == ["month=2024-01", "month=2024-02"]
    lake.remove("candles", KEYS, ["month=2024-01", "month=1999-01"])
    assert lake.parts("candles", KEYS) == ["month=2024-02"]


def test_missing_parts_and_columns_are_named(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(DataError, match="EURUSD 1h has no rows"):
        lake.read("candles", KEYS)
    lake.write("candles", KEYS, PART, _table({1: 1.0}))
    with pytest.raises(DataError, match="month=2030-01"):
        lake.read("candles", KEYS, ["month=2030-01"])
    with pytest.raises(DataError, match="no column bid"):
        lake.read("candles", KEYS, columns=["bid"])
    with pytest.raises(DataError, match="do not fit"):
        lake.upsert("candles", KEYS, PART, pa.table({"ts_utc": [1]}))


def test_a_writer_killed_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    lake.write("candles", KEYS, PART, _table({1: 1.0}))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.write("candles", KEYS, PART, _table({1: 9.0}))
    assert _values(lake) == {1: 1.0}
    assert lake.query("SELECT count(*) AS n FROM candles").to_pylist() == [{"n": 1}]
    lake.write("candles", KEYS, PART, _table({1: 3.0}))  # the lock is free and the leftover is nobody's
    assert _values(lake) == {1: 3.0}
    assert not list(tmp_path.rglob("*.tmp"))


def _writer(root: str, first: int) -> None:
    lake = Lake(root)
    for hour in range(first, first + 40, 2):
        lake.upsert("candles", KEYS, PART, _table({hour: float(hour + 1)}))


def test_two_processes_writing_one_month_lose_no_row(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_writer, args=(str(tmp_path), first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert _values(Lake(tmp_path)) == {hour: float(hour + 1) for hour in range(40)}


def test_a_held_lock_is_reported_after_the_timeout(tmp_path: Path) -> None:
    with Lake(tmp_path).lock("candles", KEYS), pytest.raises(StoreError, match="another process"):  # noqa: SIM117
        with Lake(tmp_path, timeout=0.1).lock("candles", KEYS):
            pass


def test_manifests_come_back_and_damaged_ones_are_named(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert lake.read_manifest("candles", KEYS) is None
    manifest = Manifest("f", "d", {"a": "b"}, {PART: PartEntry("c", 7, "s"), "x": PartEntry("c", 3)}, {"side": "mid"})
    lake.write_manifest("candles", KEYS, manifest)
    assert lake.read_manifest("candles", KEYS) == manifest
    assert manifest.rows == 10
    assert lake.keys("candles") == [KEYS]
    next(tmp_path.rglob("manifest.json")).write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        lake.read_manifest("candles", KEYS)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("candles", KEYS, PART, _table({1: 1.0}))
    next(tmp_path.rglob("part.parquet")).write_bytes(b"PAR1 no")
    with pytest.raises(StoreError, match=r"part\.parquet cannot be read"):
        lake.read("candles", KEYS)


@pytest.mark.parametrize("sql", ["DROP VIEW candles", "COPY candles TO 'x.csv'", "SELECT 1; SELECT 2", "SELECT nope"])
def test_only_one_select_is_answered(tmp_path: Path, sql: str) -> None:
    lake = Lake(tmp_path)
    lake.write("candles", KEYS, PART, _table({1: 1.0}))
    with pytest.raises(DataError):
        lake.query(sql)


def test_queries_see_keys_as_text_and_times_in_utc(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("scores", {"symbol": "EURUSD"}, "fold=03", _table({1: 1.0}))
    row = lake.query("SELECT symbol, fold, ts_utc FROM scores").to_pylist()[0]
    assert row == {"symbol": "EURUSD", "fold": "03", "ts_utc": datetime(1970, 1, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize("part", ["../x", "", ".hidden", "a/b"])
def test_names_cannot_leave_the_lake(tmp_path: Path, part: str) -> None:
    with pytest.raises(StoreError):
        Lake(tmp_path).write("candles", KEYS, part, _table({1: 1.0}))
