"""Archives, Lean zips and Dukascopy files: what the names say, what lies inside, and what is damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from file_makers import bi5_candles, bi5_ticks, histdata, minutes, put, zipped
from market_helpers import as_csv, bars, content, shared

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.clocks.time_zones import parse_zone
from fxgpt_core.market.files.importing import import_file, import_files
from fxgpt_core.market.files.reading import Claims, read_file, read_files
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.resampling import resample

LEAN = [f"raw_samples/lean_oanda_eurusd_minute_{day}_quote.zip" for day in ("20180403", "20180404")]


def _quotes(rows: int = 600, step: int = 60_000) -> str:
    prices = "1.1,1.2,1.0,1.15,0,1.1002,1.2002,1.0002,1.1502,0"
    return "".join(f"{step * row},{prices}\n" for row in range(rows))


# Lean ----------------------------------------------------------------------------------------------------------------


def test_real_lean_zips_give_the_hours_of_the_same_venue(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    done = import_files(lake, [shared(name) for name in LEAN])
    assert [result.rows_imported for result in done.results] == [1410, 1408]
    result = done.results[0]
    assert (result.layout, result.symbol, result.timeframe, result.side) == ("lean", "EURUSD", "1m", "mid")
    assert result.time_zone_how.startswith("Lean keeps")
    hours = resample(load_candles(lake, "EURUSD", "1m"), "1h")
    sides = [pd.read_parquet(shared(f"h1_oanda_2007_2018/EURUSD_1h_{side}.parquet")) for side in ("bid", "ask")]
    bid, ask = (frame.set_index("ts_utc").loc["2018-04-03":"2018-04-04"] for frame in sides)
    assert len(hours) == len(bid) == 48
    np.testing.assert_array_equal(hours.ts_utc, bid.index.tz_localize(None).to_numpy(dtype="datetime64[ns]"))
    for name in ("open", "close"):  # the venue's own hours use other ticks: a pip or two; another hour would be ten
        np.testing.assert_allclose(getattr(hours, name), (bid[name] + ask[name]) / 2, atol=2e-4)


@pytest.mark.parametrize(
    ("archive", "inside", "text", "rows"),
    [
        ("20180403_quote.zip", "20180403_eurusd_minute_quote.csv", _quotes(), 600),
        ("20180403_trade.zip", "20180403_eurusd_minute_trade.csv", "".join(
            f"{60_000 * row},1.1,1.2,1.0,1.15,7\n" for row in range(300)), 300),
        ("eurusd.zip", "eurusd.csv", "".join(
            f"2018040{day} {hour:02d}:00,1.1,1.2,1.0,1.15,0,1.1,1.2,1.0,1.15,0\n"
            for day in (3, 4) for hour in range(24)), 48),
    ],
    ids=["minute quotes", "minute trades", "hours"],
)  # fmt: skip
def test_lean_files_of_every_kind(tmp_path: Path, archive: str, inside: str, text: str, rows: int) -> None:
    raw = read_file(put(tmp_path, f"oanda/{archive}", zipped({inside: text})))
    assert (raw.layout, raw.symbol, raw.time_zone, len(raw.frame)) == ("lean", "EURUSD", "UTC", rows)
    assert raw.side == ("mid" if "trade" in inside else "both")
    assert str(raw.frame["ts_utc"].iloc[0]) == "2018-04-03 00:00:00+00:00"


def test_milliseconds_without_a_date_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no date in its name"):
        read_file(put(tmp_path, "lean_eurusd.zip", zipped({"eurusd_minute_quote.csv": _quotes()})))


def test_a_millisecond_outside_the_day_is_a_bad_time(tmp_path: Path) -> None:
    text = _quotes(60) + "86400000,1.1,1.2,1.0,1.15,0,1.1,1.2,1.0,1.15,0\n"
    result = import_file(Lake(tmp_path / "lake"), put(tmp_path, "20180403_eurusd_minute_quote.csv", text))
    assert result.quarantined == {"bad_time": 1}


# Archives ------------------------------------------------------------------------------------------------------------


def test_an_archive_may_hold_several_files_and_notes_what_is_no_table(tmp_path: Path) -> None:
    months = minutes(20, start="2024-01-08"), minutes(20, start="2024-02-05")
    zone = parse_zone("EST")
    files = {f"DAT_ASCII_EURUSD_M1_20240{i + 1}.csv": histdata(bars, zone) for i, bars in enumerate(months)}
    path = put(tmp_path, "HISTDATA_EURUSD.zip", zipped({**files, "status.txt": "Gap of 62s found\n"}))
    lake = Lake(tmp_path / "lake")
    done = import_files(lake, [path])
    assert [result.rows_imported for result in done.results] == [28_800, 28_800]
    assert not done.failed
    assert done.results[0].warnings[0].startswith("status.txt in the archive was left out: ")
    assert [result.rows_changed for result in import_files(lake, [path]).results] == [0, 0]


def test_gzip_and_an_archive_in_an_archive_are_opened(tmp_path: Path) -> None:
    text = as_csv(bars(300))
    raw = read_file(put(tmp_path, "EURUSD.csv.gz", gzip.compress(text.encode())), tz="UTC")
    inner = zipped({"EURUSD.csv": text})
    again = read_file(put(tmp_path, "all.zip", zipped({"2024.zip": inner})), tz="UTC")
    assert len(raw.frame) == len(again.frame) == 300
    assert again.name == "all.zip:2024.zip/EURUSD.csv"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("EURUSD.zip", zipped({"EURUSD.csv": "x"})[:-30], "damaged zip"),
        ("EURUSD.zip", zipped({}), "archive without files"),
        ("EURUSD.csv.gz", gzip.compress(b"abc" * 1000)[:-12], "damaged gzip"),
        ("EURUSD.zip", zipped({"readme.txt": "nothing here"}), "no table"),
    ],
)
def test_damaged_archives_are_one_sentence(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    lake = Lake(tmp_path / "lake")
    with pytest.raises(BadInputError, match=message) as caught:
        import_file(lake, put(tmp_path, name, data))
    assert "\n" not in str(caught.value)
    assert content(lake.root) == {}


# Dukascopy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EURUSD/2018/03/03/{}_candles_min_1.bi5", "EURUSD_2018-04-03_{}_candles_min_1.bi5",
                                  "EURUSD_2018_03_03_{}_candles_min_1.bi5"])  # fmt: skip
def test_dukascopy_days_of_both_sides_make_mid_bars(tmp_path: Path, name: str) -> None:
    candles = minutes(1).take(slice(0, 1300))
    paths = [put(tmp_path, name.format(side), bi5_candles(candles, 1e5)) for side in ("BID", "ASK")]
    lake = Lake(tmp_path / "lake")
    done = import_files(lake, paths)
    bid, ask = done.results
    assert (bid.layout, bid.side, bid.side_how, bid.filler) == ("dukascopy", "bid", "from the file name", 140)
    assert (ask.side, ask.lake_side) == ("ask", "mid")
    held = load_candles(lake, "EURUSD", "1m")
    np.testing.assert_array_equal(held.ts_utc, candles.ts_utc)
    np.testing.assert_allclose(held.close, candles.close, atol=1e-9)
    np.testing.assert_allclose(held.high, candles.high, atol=1e-9)


def test_dukascopy_ticks_of_two_hours_are_bars_of_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    paths, expected = [], {}
    for hour in (13, 14):
        at = np.sort(rng.choice(3_600_000, 5000, replace=False))
        bid = 110 + rng.normal(0, 0.01, 5000).cumsum().round(3)
        paths.append(put(tmp_path, f"USDJPY/2018/03/03/{hour}h_ticks.bi5", bi5_ticks(at, bid, bid + 0.004, 1e3)))
        expected[hour] = np.bincount(at // 900_000)
    lake = Lake(tmp_path / "lake")
    done = import_files(lake, paths, Claims(timeframe="15m"))
    (result,) = done.results
    assert (result.ticks, result.ticks_aside, result.rows_imported, result.side) == (10_000, 0, 8, "mid")
    held = load_candles(lake, "USDJPY", "15m")
    assert str(held.ts_utc[0])[:16] == "2018-04-03T13:00"
    np.testing.assert_array_equal(held.volume, np.concatenate(list(expected.values())))
    np.testing.assert_allclose(held.spread, 0.004, atol=1e-9)


def test_an_hour_without_ticks_is_no_fault(tmp_path: Path) -> None:
    at = np.arange(0, 3_600_000, 1000)
    full = put(tmp_path, "EURUSD/2018/03/03/13h_ticks.bi5", bi5_ticks(at, at * 0 + 1.1, at * 0 + 1.1001, 1e5))
    done = import_files(Lake(tmp_path / "lake"), [full, put(tmp_path, "EURUSD/2018/03/03/14h_ticks.bi5", b"")])
    assert not done.failed
    assert done.results[0].rows_imported == 60


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("EURUSD/2018/03/03/13h_ticks.bi5", b"no lzma at all", "cannot be unpacked"),
        ("EURUSD/2018/12/03/13h_ticks.bi5", b"", "names no day"),
        ("EURUSD/13h_ticks.bi5", b"", "does not say its day"),
        ("2018/03/03/13h_ticks.bi5", b"", "no currency pair"),
        (
            "EURUSD/2018/03/03/13h_ticks.bi5",
            bi5_ticks(np.array([4_000_000]), np.ones(1), np.ones(1), 1e5),
            "later than",
        ),
        ("EURUSD/2018/03/03/BID_candles_min_1.bi5", bi5_ticks(np.array([1]), np.ones(1), np.ones(1), 1e5), "no whole"),
    ],
)
def test_a_dukascopy_file_that_cannot_be_told_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_file(put(tmp_path, name, data))


# HistData ticks ------------------------------------------------------------------------------------------------------


def test_histdata_ticks_are_minute_bars_with_bad_ticks_set_aside(tmp_path: Path) -> None:
    rng, zone = np.random.default_rng(1), parse_zone("America/New_York")
    opens = np.datetime64("2024-03-03T22:00", "ns")
    inside = np.concatenate([np.arange(0, 7200 * 60, 7) + week * 10_080 * 60 for week in range(3)])
    inside = inside - np.where(inside >= 10_080 * 60, 3600, 0)  # the week opens an hour earlier from March 10th on
    utc = opens + (inside * 1000 + rng.integers(0, 1000, len(inside))).astype("timedelta64[ms]")
    bid = (1.1 + rng.normal(0, 1e-5, len(utc)).cumsum()).round(5)
    local = pd.DatetimeIndex(zone.to_local(utc)).strftime("%Y%m%d %H%M%S%f").str.slice(0, 18)
    lines = [f"{stamp},{b:.5f},{b + 0.0001:.5f},0" for stamp, b in zip(local, bid, strict=True)]
    lines[100] = lines[100].replace(",", ",-", 1)
    lines[200] += ",1,1"
    lines[300] = "20240332 000000000,1.1,1.1,0"
    lake = Lake(tmp_path / "lake")
    result = import_file(lake, put(tmp_path, "DAT_ASCII_EURUSD_T_202403.csv", "\n".join(lines)))
    assert (result.layout, result.time_zone, result.timeframe) == ("histdata_ticks", "America/New_York", "1m")
    assert (result.ticks, result.ticks_aside) == (len(lines), 3)
    held = load_candles(lake, "EURUSD", "1m")
    assert len(held) == 3 * 7200
    assert held.volume.sum() == len(lines) - 3
    aside = lake.query("SELECT row, reason, bar FROM quarantine ORDER BY row").to_pylist()
    assert [(row["row"], row["reason"]) for row in aside] == [
        (101, "not_positive"),
        (201, "malformed"),
        (301, "bad_time"),
    ]
    assert {row["bar"] for row in aside} == {"tick"}


def test_bars_that_ticks_do_not_cover_whole_are_left_out(tmp_path: Path) -> None:
    at = pd.date_range("2024-03-05 10:07", "2024-03-05 12:20", freq="10s")
    text = "".join(f"{stamp:%Y%m%d %H%M%S}000,1.1,1.1001,0\n" for stamp in at)
    lake = Lake(tmp_path / "lake")
    result = import_file(lake, put(tmp_path, "EURUSD_T.csv", text), tz="UTC", timeframe="1h")
    assert (result.first, result.last, result.rows_imported) == ("2024-03-05T11:00:00Z", "2024-03-05T12:00:00Z", 1)
    with pytest.raises(BadInputError, match="make bars of up to 1h"):
        import_file(lake, tmp_path / "EURUSD_T.csv", tz="UTC", timeframe="4h")
    with pytest.raises(BadInputError, match="leave --side bid out"):
        raise read_files([tmp_path / "EURUSD_T.csv"], Claims(tz="UTC", side="bid")).failed[0][1]
