"""Text layouts: headers of many spellings, MetaTrader, HistData; odd rows keep their line and their text."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from file_makers import histdata, minutes, put, table
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.clocks.time_zones import parse_zone
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.files.reading import RawBars, read_file
from fxgpt_core.market.lake import Lake

OHLCV = ("open", "high", "low", "close", "volume")


def _prices(raw: RawBars, name: str = "close") -> np.ndarray:
    return raw.frame[name].to_numpy(dtype=float)


@pytest.mark.parametrize(
    ("names", "side"),
    [
        (("Open", "High", "Low", "Close", "Volume"), "bid"),
        (("o", "h", "l", "c", "v"), "bid"),
        (("BidOpen", "BidHigh", "BidLow", "BidClose", "TickQty"), "bid"),
        (("ask_open", "ask_high", "ask_low", "ask_close", "volume"), "ask"),
        (("Open", "High", "Low", "Last", "Tick Volume"), "bid"),
    ],
)
def test_columns_are_recognised_however_they_are_spelt(tmp_path: Path, names: tuple[str, ...], side: str) -> None:
    candles = bars(300)
    text = table(candles, names, "%Y-%m-%d %H:%M").to_csv(index=False)
    raw = read_file(put(tmp_path, "EURUSD.csv", text), tz="UTC")
    assert (raw.layout, raw.delimiter, raw.side, raw.scale) == ("csv", "comma", side, "decimal")
    assert raw.side_how == ("from the header" if names[0].lower() not in ("open", "o") else raw.side_how)
    np.testing.assert_array_equal(_prices(raw), candles.close)
    np.testing.assert_array_equal(_prices(raw, "volume"), candles.volume)


def test_a_row_with_both_sides_becomes_mid_with_spread_and_a_bad_side_is_set_aside(tmp_path: Path) -> None:
    candles = bars(300)
    frame = table(candles, [f"bid{name}" for name in OHLCV], "%Y-%m-%d %H:%M").drop(columns="bidvolume")
    for name in OHLCV[:4]:
        frame[f"ask{name}"] = (getattr(candles, name) + 0.0002).round(5)
    frame.loc[7, "askhigh"] = 0.5
    frame.loc[9, "bidlow"] = "n/a"
    lake = Lake(tmp_path / "lake")
    result = import_file(lake, put(tmp_path, "EURUSD.csv", frame.to_csv(index=False)), tz="UTC")
    assert (result.side, result.rows_imported) == ("mid", 298)
    assert result.quarantined == {"non_numeric": 1, "high_below_low": 1}
    rows = lake.query("SELECT row, high, low, reason FROM quarantine ORDER BY row").to_pylist()
    assert rows[0] == {"row": 9, "high": "0.5", "low": rows[0]["low"], "reason": "high_below_low"}
    assert (rows[1]["row"], rows[1]["low"]) == (11, "n/a")
    held = lake.query("SELECT open, spread FROM candles ORDER BY ts_utc LIMIT 1").to_pylist()[0]
    assert held["open"] == pytest.approx(candles.open[0] + 0.0001)
    assert held["spread"] == pytest.approx(0.0002)
    only_ask = read_file(tmp_path / "EURUSD.csv", tz="UTC", side="ask")
    assert float(only_ask.frame["open"].iloc[0]) == round(candles.open[0] + 0.0002, 5)


def test_odd_rows_are_quarantined_with_the_line_they_have_in_the_file(tmp_path: Path) -> None:
    lines = as_csv(bars(300)).splitlines()
    lines[5] += ",1,2"
    lines[8] = "scribble"
    lines.insert(20, "")
    fields = lines[30].split(",")
    lines[30] = ",".join([fields[0], "x", *fields[2:]])
    lake = Lake(tmp_path / "lake")
    import_file(lake, put(tmp_path, "EURUSD.csv", "\r\n".join(lines) + "\r\n"), tz="UTC")
    rows = lake.query("SELECT row, stamp, open, reason FROM quarantine ORDER BY row").to_pylist()
    assert [(row["row"], row["reason"]) for row in rows] == [(6, "malformed"), (9, "malformed"), (31, "non_numeric")]
    assert rows[0]["stamp"] == lines[5]
    assert rows[1]["stamp"] == "scribble"
    assert rows[2]["open"] == "x"


def test_quoted_fields_may_hold_the_delimiter(tmp_path: Path) -> None:
    candles = bars(300)
    frame = table(candles, OHLCV, "%Y-%m-%d %H:%M").astype(str)
    text = "\n".join(",".join(f'"{field}"' for field in row) for row in [frame.columns, *frame.to_numpy()])
    raw = read_file(put(tmp_path, "EURUSD.csv", text.replace('"1.', '"1,')), tz="UTC")
    np.testing.assert_array_equal(_prices(raw), candles.close)
    assert list(raw.frame["line"][:2]) == [2, 3]


def test_mt4_without_header_is_a_bid_export_by_the_brokers_clock(tmp_path: Path) -> None:
    candles, zone = bars(1500), parse_zone("New York+7")
    frame = table(candles, OHLCV, "%Y.%m.%d,%H:%M", zone)
    text = "\n".join(",".join(map(str, row)) for row in frame.to_numpy())
    raw = read_file(put(tmp_path, "EURUSD60.csv", text))
    assert (raw.layout, raw.side, raw.time_zone) == ("mt4", "bid", "New York+7")
    assert "Europe/Athens would be wrong in 2 of 13 weeks" in raw.time_zone_how
    np.testing.assert_array_equal(raw.frame["ts_utc"].dt.tz_localize(None).to_numpy(), candles.ts_utc)


@pytest.mark.parametrize(("symbol", "factor"), [("EURUSD", 1e5), ("USDJPY", 1e3)])
def test_points_become_prices_with_the_pairs_factor(tmp_path: Path, symbol: str, factor: float) -> None:
    from fxgpt_core.market.providers.simulator import simulate

    candles = simulate(symbol, "1h", start=np.datetime64("2024-01-02"), bars=300, seed=5)
    frame = table(candles, OHLCV, "%Y.%m.%d %H:%M")
    frame[list(OHLCV[:4])] = (frame[list(OHLCV[:4])] * factor).round()
    raw = read_file(put(tmp_path, f"{symbol}.csv", frame.to_csv(index=False)), tz="UTC")
    assert (raw.layout, raw.scale) == ("mt5_points", f"points (x {1 / factor:g})")
    np.testing.assert_allclose(_prices(raw), candles.close, atol=1e-9)


def test_histdata_stamped_in_new_york_is_told_from_the_documented_est(tmp_path: Path) -> None:
    candles = minutes(5 * 5, start="2024-03-03T22:00")
    path = put(tmp_path, "DAT_ASCII_EURUSD_M1_202403.csv", histdata(candles, parse_zone("America/New_York")))
    raw = read_file(path)
    assert (raw.layout, raw.side, raw.time_zone) == ("histdata", "bid", "America/New_York")
    assert raw.warnings[0].startswith("The vendor documents EST, but read as EST, ")
    assert "2024-03-1" in raw.warnings[0]
    true = read_file(put(tmp_path, "DAT_ASCII_EURUSD_M1_202404.csv", histdata(candles, parse_zone("EST"))))
    assert (true.time_zone, true.warnings) == ("EST", ())
    np.testing.assert_array_equal(true.frame["ts_utc"], raw.frame["ts_utc"])


def test_histdata_of_a_winter_needs_no_answer_where_both_clocks_agree(tmp_path: Path) -> None:
    candles = minutes(5 * 2, start="2024-01-07T22:00")
    raw = read_file(put(tmp_path, "DAT_ASCII_EURUSD_M1_202401.csv", histdata(candles, parse_zone("EST"))))
    assert "EST, as documented, reads these stamps alike" in raw.time_zone_how


@pytest.mark.parametrize("layout", ["histdat", "mt6", "excel"])
def test_an_unknown_layout_lists_them_all(tmp_path: Path, layout: str) -> None:
    path = put(tmp_path, "EURUSD.csv", as_csv(bars(10)))
    with pytest.raises(BadInputError) as caught:
        read_file(path, layout=layout)
    for name in ("csv", "parquet", "histdata", "mt4", "mt5", "mt5_points", "lean", "dukascopy"):
        assert name in str(caught.value)


def test_damaged_parquet_ends_with_one_full_stop(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"damaged Parquet file: .*[^.]\.$"):
        read_file(put(tmp_path, "EURUSD.parquet", b"PAR1 and then nothing"))


def test_slashed_dates_that_never_show_the_day_are_refused(tmp_path: Path) -> None:
    candles = bars(100, start=np.datetime64("2024-03-04"))
    frame = table(candles, OHLCV, "%m/%d/%Y %H:%M")
    early = frame[frame["time"].str.slice(3, 5).astype(int) <= 8]
    with pytest.raises(BadInputError, match="which number is the month"):
        read_file(put(tmp_path, "EURUSD.csv", early.to_csv(index=False)), tz="UTC")


def test_a_line_of_spaces_is_blank_wherever_it_stands(tmp_path: Path) -> None:
    candles = bars(300)
    lines = as_csv(candles).splitlines()
    lines.insert(100, "  \t ")
    raw = read_file(put(tmp_path, "EURUSD.csv", "\n".join(lines) + "\n   \n\n"), tz="UTC")
    np.testing.assert_array_equal(_prices(raw), candles.close)
    assert raw.frame["line"].iloc[[0, 98, 99, 299]].tolist() == [2, 100, 102, 302]


@pytest.mark.parametrize(
    ("separator", "decimal", "group", "quoted"),
    [(",", ".", ",", True), (";", ".", ",", False), (";", ",", ".", False), (";", ",", ".", True)],
)
def test_thousands_separators_are_no_reason_to_lose_a_volume(
    tmp_path: Path, separator: str, decimal: str, group: str, quoted: bool
) -> None:
    candles = bars(300)
    frame = table(candles, OHLCV, "%Y-%m-%d %H:%M")
    volume = np.arange(300) * 7919 + 5
    frame["volume"] = [f"{number:,}".replace(",", group) for number in volume]
    for name in OHLCV[:4]:
        frame[name] = [f"{price:.5f}".replace(".", decimal) for price in frame[name]]
    text = frame.to_csv(index=False, sep=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_NONE)
    raw = read_file(put(tmp_path, "EURUSD.csv", text), tz="UTC")
    np.testing.assert_array_equal(_prices(raw, "volume"), volume)
    np.testing.assert_array_equal(_prices(raw), candles.close)


@pytest.mark.parametrize(
    ("symbol", "digits", "price"), [("EURUSD", 4, 1.1), ("EURUSD", 6, 1.1), ("EURUSD", 5, 1.1), ("AUDUSD", 4, 0.65),
                                    ("USDJPY", 2, 110.0), ("XAUUSD", 3, 1900.0)],
)  # fmt: skip
def test_points_of_another_digit_are_told_from_what_the_pair_can_cost(
    tmp_path: Path, symbol: str, digits: int, price: float
) -> None:
    candles = bars(300)
    frame = table(candles, OHLCV, "%Y.%m.%d %H:%M")
    true = frame[list(OHLCV[:4])] / candles.close[0] * price
    frame[list(OHLCV[:4])] = (true * 10.0**digits).round()
    raw = read_file(put(tmp_path, f"{symbol}.csv", frame.to_csv(index=False)), tz="UTC")
    assert (raw.layout, raw.scale) == ("mt5_points", f"points (x {10.0**-digits:g})")
    np.testing.assert_allclose(_prices(raw), true["close"], atol=0.5 * 10.0**-digits)


@pytest.mark.parametrize(("symbol", "factor"), [("EURUSD", 100), ("EURUSD", 0.01), ("USDJPY", 1), ("EURUSD", 1e9)])
def test_prices_that_the_pair_cannot_have_are_refused(tmp_path: Path, symbol: str, factor: float) -> None:
    frame = table(bars(300), OHLCV, "%Y.%m.%d %H:%M")
    frame[list(OHLCV[:4])] *= factor
    with pytest.raises(BadInputError, match=rf"{symbol} lies between .* --symbol .* --layout mt5_points"):
        read_file(put(tmp_path, f"{symbol}.csv", frame.to_csv(index=False)), tz="UTC")


def test_a_pair_of_which_nothing_is_known_is_believed(tmp_path: Path) -> None:
    frame = table(bars(300), OHLCV, "%Y.%m.%d %H:%M")
    frame[list(OHLCV[:4])] *= 1e6  # liras of 2004
    raw = read_file(put(tmp_path, "USDTRY.csv", frame.to_csv(index=False)), tz="UTC")
    assert raw.scale in ("decimal", "points (x 1e-05)")
