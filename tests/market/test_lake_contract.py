"""One contract of the lake, wherever it lies: a folder, memory, S3, a file system with exclusive creation only."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from lake_helpers import PlainFileSystem, new_url, s3_server, table, values

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.market.lake import Lake, Manifest, PartEntry

KEYS = {"symbol": "EURUSD", "timeframe": "1h"}
PART = "month=2024-01"
KINDS = ("folder", "memory", "s3", "plain")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
    with s3_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


def test_writes_reads_lists_and_removes_parts(url: str) -> None:
    lake = Lake(url)
    assert lake.parts("candles", KEYS) == []
    with pytest.raises(DataError, match="EURUSD 1h has no rows"):
        lake.read("candles", KEYS)
    lake.write("candles", KEYS, "month=2024-02", table({2: 2.0}))
    lake.write("candles", KEYS, PART, table({1: 1.0}))
    lake.write("candles_by_side", {**KEYS, "side": "bid"}, PART, table({7: 7.0}))
    assert lake.parts("candles", KEYS) == [PART, "month=2024-02"]
    assert values(lake, KEYS) == {1: 1.0, 2: 2.0}
    assert lake.read("candles", KEYS, columns=["close"]).to_pydict() == {"close": [1.0, 2.0]}
    with pytest.raises(DataError, match="month=2030-01"):
        lake.read("candles", KEYS, ["month=2030-01"])
    with pytest.raises(DataError, match="no column bid"):
        lake.read("candles", KEYS, columns=["bid"])
    lake.remove("candles", KEYS, [PART, "month=1999-01"])
    assert values(Lake(url), KEYS) == {2: 2.0}


def test_upsert_merges_counts_and_appends(url: str) -> None:
    lake = Lake(url)
    assert lake.upsert("candles", KEYS, PART, table({2: 2.0, 1: 1.0})) == 2
    assert lake.upsert("candles", KEYS, PART, table({1: 1.0, 2: 9.0})) == 1
    assert lake.upsert("candles", KEYS, PART, table({3: None, 4: 4.0})) == 2
    assert lake.upsert("candles", KEYS, PART, table({3: None, 4: 4.0})) == 0
    assert list(values(lake, KEYS).items()) == [(1, 1.0), (2, 9.0), (3, None), (4, 4.0)]
    with pytest.raises(DataError, match="do not fit"):
        lake.upsert("candles", KEYS, PART, table({1: 1.0}).select(["ts_utc"]))


def test_manifests_come_back_and_damaged_ones_are_named(url: str) -> None:
    lake = Lake(url)
    assert lake.read_manifest("candles", KEYS) is None
    manifest = Manifest("f", "d", {"a": "b"}, {PART: PartEntry("c", 7, "s")}, {"side": "mid"})
    lake.write_manifest("candles", KEYS, manifest)
    assert Lake(url).read_manifest("candles", KEYS) == manifest
    assert lake.keys("candles") == [KEYS]
    lake.storage.write("candles/symbol=EURUSD/timeframe=1h/manifest.json", b"{")
    with pytest.raises(StoreError, match="damaged"):
        lake.read_manifest("candles", KEYS)


def test_a_damaged_part_is_named(url: str) -> None:
    lake = Lake(url)
    lake.write("candles", KEYS, PART, table({1: 1.0}))
    lake.storage.write(f"candles/symbol=EURUSD/timeframe=1h/{PART}/part.parquet", b"PAR1 no")
    for read in (lake.read, lambda *where: lake.tail(*where, 1)):
        with pytest.raises(StoreError, match=r"part\.parquet cannot be read"):
            read("candles", KEYS)


@pytest.mark.parametrize("rows", [1, 3, 700, 2500, 9000, 99_999])
def test_the_tail_is_the_end_of_the_whole(tmp_path: Path, rows: int) -> None:
    lake, start = Lake(tmp_path), 0
    for month, count in enumerate((100, 5000, 3, 4500), 1):
        lake.write("candles", KEYS, f"month=2024-0{month}", table({start + i: float(i) for i in range(count)}))
        start += count
    whole = lake.read("candles", KEYS)
    assert lake.tail("candles", KEYS, rows).equals(whole.slice(max(len(whole) - rows, 0)))
    some = ["month=2024-01", "month=2024-03"]
    assert lake.tail("candles", KEYS, 50, some, ["close"]).equals(lake.read("candles", KEYS, some, ["close"]).slice(53))


def test_the_tail_opens_only_the_last_parts(url: str) -> None:
    lake = Lake(url)
    with pytest.raises(DataError, match="has no rows"):
        lake.tail("candles", KEYS, 5)
    lake.storage.write(f"candles/symbol=EURUSD/timeframe=1h/{PART}/part.parquet", b"never opened")
    lake.write("candles", KEYS, "month=2024-02", table({1: 1.0, 2: 2.0, 3: 3.0}))
    assert lake.tail("candles", KEYS, 2)["close"].to_pylist() == [2.0, 3.0]
    with pytest.raises(DataError, match="lacks month=2025-01"):
        lake.tail("candles", KEYS, 2, ["month=2025-01"])


def test_views_answer_with_keys_as_text_and_times_in_utc(url: str) -> None:
    lake = Lake(url)
    lake.write("scores", {"symbol": "EURUSD"}, "fold=03", table({1: 1.0}))
    row = lake.query("SELECT symbol, fold, ts_utc FROM scores").to_pylist()[0]
    assert row == {"symbol": "EURUSD", "fold": "03", "ts_utc": datetime(1970, 1, 1, 1, tzinfo=UTC)}


def test_views_show_months_with_other_columns_and_see_replaced_parts(url: str) -> None:
    lake = Lake(url)
    lake.write("candles", KEYS, PART, table({1: 1.0}))
    lake.write("candles", KEYS, "month=2024-02", table({2: 2.0}).append_column("spread", [[0.5]]))
    lake.write("candles", {**KEYS, "symbol": "GBPUSD"}, PART, table({9: 9.0}))
    with lake.connect() as connection:
        answer = connection.sql("SELECT close, spread FROM candles WHERE symbol = 'EURUSD' ORDER BY ts_utc").fetchall()
        assert answer == [(1.0, None), (2.0, 0.5)]
        lake.write("candles", KEYS, PART, table({1: 4.0, 5: 5.0}))
        assert connection.sql("SELECT sum(close) FROM candles WHERE symbol = 'EURUSD'").fetchall() == [(11.0,)]
    with lake.connect(["candles"], {"symbol": "GBPUSD"}) as connection:
        assert connection.sql("SELECT close, month FROM candles").fetchall() == [(9.0, "2024-01")]


def test_a_query_for_one_month_scans_one_file(url: str) -> None:
    lake = Lake(url)
    for month in range(1, 7):
        for symbol in ("EURUSD", "GBPUSD"):
            lake.write("candles", {**KEYS, "symbol": symbol}, f"month=2024-0{month}", table({month: 1.0}))
    with lake.connect() as connection:
        sql = "EXPLAIN ANALYZE SELECT close FROM candles WHERE symbol = 'GBPUSD' AND month = '2024-03'"
        plan = connection.sql(sql).fetchall()[0][1]
    assert "Total Files Read: 1 " in plan
    assert "Scanning Files: 1/12" in plan


def _write_hours(url: str, first: int, step: int, count: int) -> None:
    fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
    lake = Lake(url)
    for hour in range(first, first + step * count, step):
        lake.upsert("candles", KEYS, PART, table({hour: float(hour + 1)}))


def test_threads_racing_on_one_part_lose_no_row(url: str) -> None:
    threads = [threading.Thread(target=_write_hours, args=(url, first, 4, 6)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(Lake(url), KEYS) == {hour: float(hour + 1) for hour in range(24)}


@pytest.mark.parametrize("kind", ["folder", "s3", "plain"])
def test_processes_racing_on_one_part_lose_no_row(kind: str, server: str, tmp_path: Path) -> None:
    url, context = new_url(kind, tmp_path), multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_hours, args=(url, first, 2, 10)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert values(Lake(url), KEYS) == {hour: float(hour + 1) for hour in range(20)}


def test_a_lock_holds_one_at_a_time_and_is_free_afterwards(url: str) -> None:
    inside: list[int] = []
    worst: list[int] = []

    def hold() -> None:
        with Lake(url).lock("candles", KEYS):
            inside.append(1)
            worst.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == [1] * 5
    with (
        Lake(url).lock("candles", KEYS),
        pytest.raises(StoreError, match="another process"),
        Lake(url, timeout=0.1).lock("candles", KEYS),
    ):
        pass
    with pytest.raises(ZeroDivisionError), Lake(url).lock("candles", KEYS):
        raise ZeroDivisionError
    with Lake(url, timeout=0.1).lock("candles", KEYS):
        pass


@pytest.mark.parametrize("part", ["../x", "", ".hidden", "a/b"])
def test_names_cannot_leave_the_lake(url: str, part: str) -> None:
    with pytest.raises(StoreError):
        Lake(url).write("candles", KEYS, part, table({1: 1.0}))
