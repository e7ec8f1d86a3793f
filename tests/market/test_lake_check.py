"""`check_lake`: what is wrong is said, what a killed writer left is noted, what is right is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bars import CANDLES
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import update_candles
from fxgpt_core.market.lake import Lake
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
