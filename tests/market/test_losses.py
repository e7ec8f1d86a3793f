"""Months that were lost or altered in the lake: an import says so and never passes them off as whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from market_helpers import as_csv, content
from market_helpers import bars as simulated

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bars import CANDLES, ONE_SIDED, bar_keys, checksum
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import ImportResult, import_file
from fxgpt_core.market.history import load_candles, update_candles
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.lake_check import check_lake
from fxgpt_core.market.rebuilding import rebuild
from fxgpt_core.market.sides import combine_sides

HOUR = timeframe("1h")
KEYS = bar_keys("EURUSD", HOUR)
QUALITY = QualityConfig()
LAST = "2024-02-29T23:00"  # closes in March
JANUARY, FEBRUARY, MARCH = "month=2024-01", "month=2024-02", "month=2024-03"


def _of_side(side: str, by: float = 0.0, count: int = 1300) -> Candles:
    frame = simulated(count).to_frame()[["open", "high", "low", "close", "volume"]]
    frame[["open", "high", "low", "close"]] = (frame[["open", "high", "low", "close"]] + by).round(5)
    return Candles.from_frame(frame, "EURUSD", "1h", side)


MID, BID, ASK = _of_side("mid"), _of_side("bid", -1e-4), _of_side("ask", 1e-4)


def _import(lake: Lake, folder: Path, candles: Candles, name: str = "") -> ImportResult:
    path = folder / f"EURUSD_{candles.side}{name}.csv"
    path.write_text(as_csv(candles))
    return import_file(lake, path, tz="UTC")


def _piece(candles: Candles, start: str, end: str = "2030-01-01") -> Candles:
    opens = candles.ts_utc
    return candles.take((opens >= np.datetime64(start)) & (opens < np.datetime64(end)))


def _manifest(lake: Lake) -> Manifest:
    manifest = lake.read_manifest(CANDLES, KEYS)
    assert manifest is not None
    return manifest


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Bars of one side in two files, the second of which holds March."""
    made = Lake(tmp_path / "lake")
    _import(made, tmp_path, _piece(MID, "2024-01-01", LAST), "_1")
    _import(made, tmp_path, _piece(MID, LAST), "_2")
    return made


@pytest.fixture
def combined(tmp_path: Path) -> Lake:
    """Bid and ask bars that became mid bars."""
    made = Lake(tmp_path / "lake")
    for candles in (BID, ASK):
        _import(made, tmp_path, candles)
    return made


def _halve(lake: Lake, dataset: str, keys: dict[str, str], part: str) -> None:
    table = lake.read(dataset, keys, [part])
    lake.write(dataset, keys, part, table.slice(0, len(table) // 2))


def _alter(lake: Lake, dataset: str, keys: dict[str, str], part: str) -> None:
    table = lake.read(dataset, keys, [part])
    index = table.column_names.index("volume")
    lake.write(dataset, keys, part, table.set_column(index, "volume", [[7.0] * len(table)]))


def _truncate(lake: Lake, dataset: str, keys: dict[str, str], part: str) -> None:
    folder = "/".join([dataset, *(f"{key}={value}" for key, value in keys.items())])
    raw = lake.storage.read(f"{folder}/{part}/part.parquet")
    lake.storage.write(f"{folder}/{part}/part.parquet", raw[: len(raw) // 2])


def _add_a_column(lake: Lake, dataset: str, keys: dict[str, str], part: str) -> None:
    table = lake.read(dataset, keys, [part])
    lake.write(dataset, keys, part, table.append_column("x", [[1.0] * len(table)]))


def _lose(lake: Lake, dataset: str, keys: dict[str, str], part: str) -> None:
    lake.remove(dataset, keys, [part])


HARMS = [_halve, _alter, _truncate, _add_a_column, _lose]


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_month_of_a_side_is_reported_and_stops_what_would_shrink_the_mid_bars(
    harm: object, combined: Lake, tmp_path: Path
) -> None:
    whole = load_candles(combined, "EURUSD", "1h")
    harm(combined, ONE_SIDED, {**KEYS, "side": "bid"}, FEBRUARY)  # type: ignore[operator]
    problems = check_lake(combined).problems
    assert any(f"EURUSD 1h bid {FEBRUARY}" in problem for problem in problems), problems
    before = content(tmp_path / "lake")
    with pytest.raises(DataError, match=r"EURUSD 1h bid 2024-02 .*EURUSD_bid.csv"):
        _import(combined, tmp_path, _piece(ASK, "2024-02-20", "2024-02-27"), "_later")
    assert content(tmp_path / "lake") == before
    _import(combined, tmp_path, BID)  # the file that holds the month heals it
    assert check_lake(combined).problems == []
    assert checksum(load_candles(combined, "EURUSD", "1h")) == checksum(whole)


def test_a_lost_side_is_noticed_in_lakes_whose_manifest_does_not_tell_of_sides(combined: Lake, tmp_path: Path) -> None:
    manifest = _manifest(combined)
    del manifest.extra["sides"]
    combined.write_manifest(CANDLES, KEYS, manifest)
    _lose(combined, ONE_SIDED, {**KEYS, "side": "bid"}, FEBRUARY)
    assert any(FEBRUARY in problem for problem in check_lake(combined).problems)
    with pytest.raises(DataError, match="2024-02 make 0 mid bars"):
        _import(combined, tmp_path, _piece(ASK, "2024-02-20"), "_later")


def test_a_mid_month_that_its_sides_do_not_make_is_a_problem(combined: Lake) -> None:
    manifest = _manifest(combined)
    mid = combined.read(CANDLES, KEYS, [JANUARY])
    combined.write(CANDLES, KEYS, JANUARY, mid.slice(1))
    shorter = Candles.from_arrow(mid.slice(1), "EURUSD", "1h", "mid")
    manifest.parts[JANUARY] = type(manifest.parts[JANUARY])(checksum(shorter), len(shorter))
    combined.write_manifest(CANDLES, KEYS, manifest)
    problems = check_lake(combined).problems
    assert any(f"EURUSD 1h {JANUARY}: is not what its bid and ask bars make" in problem for problem in problems)


def test_bars_whose_ask_lies_below_the_bid_are_counted_by_month(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    below = ASK.to_frame()
    rows = slice(700, 710)
    below.iloc[rows, :4] -= 4e-4
    _import(lake, tmp_path, BID)
    _import(lake, tmp_path, Candles.from_frame(below, "EURUSD", "1h", "ask"))
    month = f"month={str(ASK.known_at[705])[:7]}"
    assert _manifest(lake).extra["crossed"] == {month: 10}
    _import(lake, tmp_path, ASK, "_mended")
    assert _manifest(lake).extra["crossed"] == {}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_month_is_written_only_by_bars_that_hold_all_of_it(harm: object, lake: Lake, tmp_path: Path) -> None:
    harm(lake, CANDLES, KEYS, MARCH)  # type: ignore[operator]
    before = content(tmp_path / "lake")
    with pytest.raises(DataError, match=r"EURUSD 1h mid 2024-03 .*EURUSD_mid_2.csv.*fxgpt lake rebuild EURUSD 1h"):
        _import(lake, tmp_path, MID.take(slice(len(MID) - 3, len(MID))), "_3")
    assert content(tmp_path / "lake") == before
    _import(lake, tmp_path, _piece(MID, LAST), "_2")
    assert check_lake(lake).problems == []
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(MID)


def test_a_correction_survives_the_return_of_the_older_file(lake: Lake, tmp_path: Path) -> None:
    first, wrong = _piece(MID, "2024-01-01", LAST), _piece(MID, "2024-02-05", "2024-02-10").to_frame()
    corrected = Candles.from_frame(wrong.assign(volume=wrong["volume"] + 1), "EURUSD", "1h", "mid")
    assert _import(lake, tmp_path, corrected, "_correction").rows_changed == len(corrected)
    before = content(tmp_path / "lake")
    assert _import(lake, tmp_path, first, "_1").rows_changed == 0
    assert content(tmp_path / "lake") == before
    assert _import(lake, tmp_path, first.take(slice(0, 900)), "_1").rows_changed > 0  # another file, and the last one


def test_a_damaged_month_that_a_later_file_corrected_is_not_healed_by_the_older_one(lake: Lake, tmp_path: Path) -> None:
    wrong = _piece(MID, "2024-02-05", "2024-02-10").to_frame()
    corrected = Candles.from_frame(wrong.assign(volume=wrong["volume"] + 1), "EURUSD", "1h", "mid")
    _import(lake, tmp_path, corrected, "_correction")
    whole = load_candles(lake, "EURUSD", "1h")
    _truncate(lake, CANDLES, KEYS, FEBRUARY)
    with pytest.raises(DataError, match=r"came from EURUSD_mid_1.csv, EURUSD_mid_correction.csv"):
        _import(lake, tmp_path, _piece(MID, "2024-01-01", LAST), "_1")
    rebuild(lake, "EURUSD", HOUR)
    _import(lake, tmp_path, _piece(MID, "2024-01-01", LAST), "_1")
    _import(lake, tmp_path, corrected, "_correction")
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(whole)


def test_the_older_file_brings_back_what_the_lake_lacks(lake: Lake, tmp_path: Path) -> None:
    first = _piece(MID, "2024-01-01", LAST)
    some = _piece(MID, "2024-02-05", "2024-02-10")
    _import(lake, tmp_path, some.take(np.arange(len(some)) % 2 == 0), "_sparse")  # lies in the first file's span
    lake.write(CANDLES, KEYS, JANUARY, lake.read(CANDLES, KEYS, [JANUARY]).slice(5))
    assert _import(lake, tmp_path, first, "_1").rows_changed > 0
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(MID)


def test_ask_bars_do_not_speak_for_the_bid_file(combined: Lake, tmp_path: Path) -> None:
    bid = {**KEYS, "side": "bid"}
    _halve(combined, ONE_SIDED, bid, MARCH)
    rebuild(combined, "EURUSD", HOUR)
    assert _import(combined, tmp_path, BID).rows_changed > 0
    assert checksum(load_candles(combined, "EURUSD", "1h")) == checksum(combine_sides(BID, ASK))


def _lose_the_manifest(lake: Lake) -> None:
    lake.storage.remove("candles/symbol=EURUSD/timeframe=1h/manifest.json")


def test_without_a_manifest_nothing_is_mixed_with_what_is_there(lake: Lake, tmp_path: Path) -> None:
    _lose_the_manifest(lake)
    before = content(tmp_path / "lake")
    for more in (_piece(ASK, "2024-02-05", "2024-02-10"), _piece(MID, "2024-03-04")):
        with pytest.raises(DataError, match=r"3 months of EURUSD 1h bars whose manifest has gone.*fxgpt lake rebuild"):
            _import(lake, tmp_path, more, "_more")
    assert content(tmp_path / "lake") == before
    assert any("fxgpt lake rebuild EURUSD 1h" in problem for problem in check_lake(lake).problems)


def test_without_a_manifest_a_file_that_holds_everything_takes_its_place(lake: Lake, tmp_path: Path) -> None:
    _lose_the_manifest(lake)
    _import(lake, tmp_path, MID, "_all")
    assert check_lake(lake).problems == []
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(MID)


def test_rebuilding_makes_the_manifest_again_and_asks_for_the_side(lake: Lake) -> None:
    before = _manifest(lake)
    lake.storage.write("candles/symbol=EURUSD/timeframe=1h/manifest.json", b"{broken")
    with pytest.raises(BadInputError, match="say --side"):
        rebuild(lake, "EURUSD", HOUR)
    made = rebuild(lake, "EURUSD", HOUR, "mid")
    assert (made.months, made.rows, made.removed) == (3, len(MID), ())
    assert (_manifest(lake).fingerprint, _manifest(lake).parts) == (before.fingerprint, before.parts)
    assert update_candles(lake, "EURUSD", [HOUR, timeframe("4h")], "import", QUALITY).rows["1h"] == len(MID)
    with pytest.raises(BadInputError, match="derived from 1h bars"):
        rebuild(lake, "EURUSD", timeframe("4h"))
    with pytest.raises(BadInputError, match="are mid, not bid"):
        rebuild(lake, "EURUSD", HOUR, "bid")
    with pytest.raises(DataError, match="holds no 1h bars of GBPUSD"):
        rebuild(lake, "GBPUSD", HOUR)


def test_rebuilding_accepts_what_is_left_and_drops_what_cannot_be_read(lake: Lake, tmp_path: Path) -> None:
    _truncate(lake, CANDLES, KEYS, MARCH)
    _halve(lake, CANDLES, KEYS, JANUARY)
    made = rebuild(lake, "EURUSD", HOUR)
    assert made.removed == (f"candles EURUSD 1h {MARCH}",)
    assert check_lake(lake).problems == []
    for start, end, name in (("2024-01-01", LAST, "_1"), (LAST, "2030-01-01", "_2")):
        _import(lake, tmp_path, _piece(MID, start, end), name)
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(MID)


def test_rebuilding_puts_bars_into_their_own_month(lake: Lake) -> None:
    january, february = (lake.read(CANDLES, KEYS, [part]) for part in (JANUARY, FEBRUARY))
    lake.write(CANDLES, KEYS, FEBRUARY, pa.concat_tables([january.slice(len(january) - 10), february]))
    lake.write(CANDLES, KEYS, JANUARY, january.slice(0, len(january) - 5))
    lake.write(CANDLES, KEYS, "month=2018-08", lake.read(CANDLES, KEYS, [MARCH]))
    lake.remove(CANDLES, KEYS, [MARCH])
    assert rebuild(lake, "EURUSD", HOUR).removed == ()
    assert check_lake(lake).problems == []
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(MID)


def test_rebuilding_without_a_side_keeps_the_mid_bars_aside(combined: Lake) -> None:
    mid = combined.read(CANDLES, KEYS, [FEBRUARY])
    _lose(combined, ONE_SIDED, {**KEYS, "side": "bid"}, FEBRUARY)
    assert rebuild(combined, "EURUSD", HOUR).months == 2
    assert combined.read("candles_superseded", KEYS, [FEBRUARY]).equals(mid)
    assert check_lake(combined).problems == []


def test_rebuilding_combines_both_sides_again(combined: Lake) -> None:
    whole = load_candles(combined, "EURUSD", "1h")
    _lose_the_manifest(combined)
    _truncate(combined, CANDLES, KEYS, JANUARY)
    assert rebuild(combined, "EURUSD", HOUR).side == "mid"
    assert check_lake(combined).problems == []
    assert checksum(load_candles(combined, "EURUSD", "1h")) == checksum(whole)
