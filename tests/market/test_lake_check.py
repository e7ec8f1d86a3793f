"""`check_lake`: what is wrong is said, what a killed writer left is noted, what is right is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bars import CANDLES
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import update_candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.lake_check import check_lake

KEYS = {"symbol": "EURUSD", "timeframe": "1h"}
JANUARY, FEBRUARY, MARCH = "month=2024-01", "month=2024-02", "month=2024-03"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    path.write_text(as_csv(bars(24 * 21 * 3)))
    import_file(made, path, tz="UTC")
    return made


def _part(lake: Lake, part: str) -> pa.Table:
    return lake.read(CANDLES, KEYS, [part])


def test_a_lake_that_is_right_is_counted(lake: Lake) -> None:
    update_candles(lake, "EURUSD", [timeframe("1h"), timeframe("4h")], "import", QualityConfig())
    report = check_lake(lake)
    assert (report.problems, report.notes) == ([], [])
    assert list(report.bars["EURUSD"]) == ["1h", "4h"]
    assert report.bars["EURUSD"]["1h"] == 24 * 21 * 3


def test_no_bars_are_an_error(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no bars of GBPUSD"):
        check_lake(lake, "GBPUSD")
    with pytest.raises(DataError, match="no bars"):
        check_lake(Lake(tmp_path / "empty"))


def _unsort(lake: Lake) -> None:
    lake.write(CANDLES, KEYS, JANUARY, _part(lake, JANUARY).take([1, 0, 2, 3]))


def _repeat(lake: Lake) -> None:
    lake.write(CANDLES, KEYS, JANUARY, _part(lake, JANUARY).take([0, 1, 1, 2]))


def _change_a_price(lake: Lake) -> None:
    table = _part(lake, JANUARY)
    volume = pa.array([1e6] * len(table))
    lake.write(CANDLES, KEYS, JANUARY, table.set_column(table.column_names.index("volume"), "volume", volume))


def _break_a_price(lake: Lake) -> None:
    table = _part(lake, JANUARY)
    high = pa.array([0.1] * len(table))
    lake.write(CANDLES, KEYS, JANUARY, table.set_column(table.column_names.index("high"), "high", high))


def _overlap(lake: Lake) -> None:
    stray = _part(lake, JANUARY).slice(len(_part(lake, JANUARY)) - 3)
    lake.write(CANDLES, KEYS, FEBRUARY, pa.concat_tables([stray, _part(lake, FEBRUARY)]))


def _drop_a_column(lake: Lake) -> None:
    lake.write(CANDLES, KEYS, JANUARY, _part(lake, JANUARY).drop_columns(["spread"]))


def _change_a_type(lake: Lake) -> None:
    table = _part(lake, JANUARY)
    index = table.column_names.index("volume")
    lake.write(CANDLES, KEYS, JANUARY, table.set_column(index, "volume", table["volume"].cast(pa.float32())))


def _lose_a_month(lake: Lake) -> None:
    lake.remove(CANDLES, KEYS, [JANUARY])


def _forget_a_month(lake: Lake) -> None:
    manifest = lake.read_manifest(CANDLES, KEYS)
    assert manifest is not None
    parts = {part: entry for part, entry in manifest.parts.items() if part != JANUARY}
    lake.write_manifest(CANDLES, KEYS, replace(manifest, parts=parts))


def _damage_the_manifest(lake: Lake) -> None:
    lake.storage.write("candles/symbol=EURUSD/timeframe=1h/manifest.json", b"{")


def _lose_the_manifest(lake: Lake) -> None:
    lake.storage.remove("candles/symbol=EURUSD/timeframe=1h/manifest.json")


def _damage_a_month(lake: Lake) -> None:
    lake.storage.write(f"candles/symbol=EURUSD/timeframe=1h/{JANUARY}/part.parquet", b"PAR1 no")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_unsort, [f"EURUSD 1h {JANUARY}: 1 bars are out of order"]),
        (_repeat, [f"EURUSD 1h {JANUARY}: 1 bars are there twice"]),
        (_change_a_price, [f"EURUSD 1h {JANUARY}: content differs from its manifest"]),
        (_break_a_price, [JANUARY]),
        (_overlap, [f"{FEBRUARY}: holds bars of {JANUARY}", f"{FEBRUARY}: holds 3 bars that {JANUARY} holds too"]),
        (_drop_a_column, [f"{JANUARY}: its columns are not those of bars"]),
        (_change_a_type, [f"{JANUARY}: its columns are not those of bars (volume: float)"]),
        (_lose_a_month, [f"{JANUARY}: in the manifest but not in the lake"]),
        (_forget_a_month, [f"{JANUARY}: in the lake but not in its manifest", "fingerprint is not that of its months"]),
        (_damage_the_manifest, ["EURUSD 1h manifest: Manifest", "damaged"]),
        (_lose_the_manifest, ["EURUSD 1h manifest: has gone, but 3 months are there"]),
        (_damage_a_month, [f"{JANUARY}: ", "cannot be read"]),
    ],
)
def test_every_harm_is_said(lake: Lake, harm: Callable[[Lake], None], said: list[str]) -> None:
    harm(lake)
    problems = check_lake(lake, "EURUSD").problems
    for text in said:
        assert any(text in problem for problem in problems), problems


def test_months_of_an_interrupted_import_are_a_note_and_others_a_problem(lake: Lake) -> None:
    manifest = lake.read_manifest(CANDLES, KEYS)
    assert manifest is not None
    writing = {"name": "EURUSD_2024.csv", "months": [JANUARY, "month=2024-07"]}
    lake.write_manifest(CANDLES, KEYS, replace(manifest, extra={**manifest.extra, "writing": writing}))
    _change_a_price(lake)
    report = check_lake(lake)
    assert report.problems == []
    assert len(report.notes) == 1
    assert "an import of EURUSD_2024.csv (2 months) runs or was interrupted" in report.notes[0]
    _unsort(lake)
    lake.remove(CANDLES, KEYS, [MARCH])
    assert len(check_lake(lake).problems) == 2  # even then bars must be in order, and other months as they were


def test_bars_of_one_side_are_checked_too(lake: Lake) -> None:
    keys = {**KEYS, "side": "bid"}
    lake.write("candles_by_side", keys, JANUARY, _part(lake, JANUARY))
    assert check_lake(lake).problems == []
    lake.write("candles_by_side", keys, JANUARY, _part(lake, JANUARY).take([1, 0]))
    lake.write("candles_by_side", keys, FEBRUARY, _part(lake, JANUARY))
    problems = check_lake(lake).problems
    assert [problem.split(":")[0] for problem in problems] == [
        f"EURUSD 1h bid {JANUARY}",
        f"EURUSD 1h bid {FEBRUARY}",
    ]


def test_leftovers_are_a_note_until_they_are_swept(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / f"lake/candles/symbol=EURUSD/timeframe=1h/{JANUARY}/.part.parquet.tmp").write_bytes(b"half")
    report = check_lake(lake)
    assert report.problems == []
    assert "1 temporary files" in report.notes[0]
    lake.storage.sweep()
    assert check_lake(lake).notes == []


def test_strays_are_named_and_the_rest_is_checked(lake: Lake, tmp_path: Path) -> None:
    part, root = _part(lake, JANUARY), tmp_path / "lake"
    for stray in ("candles/backup/x", f"candles/symbol=EURUSD/timeframe=7m/{JANUARY}", "candles/symbol=EURUSD/foo"):
        (root / stray).mkdir(parents=True)
        (root / stray / "part.parquet").write_bytes(
            (root / f"candles/symbol=EURUSD/timeframe=1h/{JANUARY}/part.parquet").read_bytes()
        )
    (root / "candles/read me.txt").write_text("mine")
    lake.write(CANDLES, KEYS, "month=2024-13", part)
    _change_a_price(lake)
    report = check_lake(lake)
    assert [problem for problem in report.problems if "lies where the lake has no such file" in problem] == [
        f"{root}/candles/{stray}/part.parquet lies where the lake has no such file: move it elsewhere."
        for stray in (
            "backup/x",
            "symbol=EURUSD/foo",
            "symbol=EURUSD/timeframe=1h/month=2024-13",
            f"symbol=EURUSD/timeframe=7m/{JANUARY}",
        )
    ]
    assert any("content differs" in problem for problem in report.problems)
    assert report.notes == [f"{root}/candles/read me.txt is no file of the lake's."]
    assert lake.keys(CANDLES) == [KEYS]


def test_advice_names_the_command_that_mends_a_derived_month(lake: Lake) -> None:
    frames, derived = [timeframe("1h"), timeframe("4h")], {**KEYS, "timeframe": "4h"}
    update_candles(lake, "EURUSD", frames, "import", QualityConfig())
    lake.write(CANDLES, derived, FEBRUARY, lake.read(CANDLES, derived, [FEBRUARY]).slice(3))
    (problem,) = check_lake(lake).problems
    assert "`fxgpt materialize --symbol EURUSD --months 2024-02` makes it again" in problem
    update_candles(lake, "EURUSD", frames, "import", QualityConfig(), months=["2024-02"])
    assert check_lake(lake).problems == []


def _table(lake: Lake, dataset: str, keys: dict[str, str], part: str, rows: int, told: int) -> None:
    lake.write(dataset, keys, part, pa.table({"x": list(range(rows))}))
    if told:
        lake.write_manifest(dataset, keys, Manifest("", "", parts={part: PartEntry("", told)}))


def test_tables_that_are_no_bars_are_checked_for_being_whole(lake: Lake, tmp_path: Path) -> None:
    pair = {"symbol": "EURUSD"}
    _table(lake, "events", {"currency": "USD"}, "year=2024", 30, 30)
    _table(lake, "features", KEYS, JANUARY, 30, 30)
    _table(lake, "targets", KEYS, JANUARY, 30, 31)
    _table(lake, "candles_superseded", KEYS, JANUARY, 30, 30)
    _table(lake, "quarantine", pair, "bucket=a", 30, 0)
    lake.write_manifest(
        "downloads", {"provider": "dukascopy", **KEYS}, Manifest("", "", extra={"spans": [], "bars": 0})
    )
    lake.storage.write("documents/drift/symbol=EURUSD/document.json", b"{}")
    report = check_lake(lake)
    (problem,) = report.problems
    assert f"targets EURUSD 1h {JANUARY}: holds 30 rows, and its manifest says 31" in problem
    assert report.tables["events"] == report.tables["quarantine"] == 1
    root = tmp_path / "lake"
    for name in ("events/currency=USD/year=2024", "quarantine/symbol=EURUSD/bucket=a"):
        path = root / name / "part.parquet"
        path.write_bytes(path.read_bytes()[:60])
    flipped = root / f"candles_superseded/symbol=EURUSD/timeframe=1h/{JANUARY}/part.parquet"
    flipped.write_bytes(_flipped(flipped.read_bytes()))
    lake.remove("features", KEYS, [JANUARY])
    for name in (
        "downloads/provider=dukascopy/symbol=EURUSD/timeframe=1h/manifest.json",
        "documents/drift/symbol=EURUSD/document.json",
    ):
        (root / name).write_text("{")
    problems = check_lake(lake).problems
    for said in (
        "events USD year=2024: is damaged and cannot be read: remove that part and import the calendars again",
        "quarantine EURUSD bucket=a: is damaged",
        f"candles_superseded EURUSD 1h {JANUARY}: is damaged",
        f"features EURUSD 1h {JANUARY}: in the manifest but not in the lake",
        "downloads dukascopy EURUSD 1h manifest: Manifest",
        "document.json is damaged",
    ):
        assert any(said in problem for problem in problems), (said, problems)


def _flipped(raw: bytes) -> bytes:
    """Return a file with one bit of its first page of data changed."""
    found = pq.ParquetFile(pa.BufferReader(raw)).metadata.row_group(0).column(0)
    at = found.data_page_offset + found.total_compressed_size - 3
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
