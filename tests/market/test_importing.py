"""Files of every layout, and every kind of bad input: one sentence, and the lake as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from market_helpers import as_csv, bars, content, shared

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.clocks.time_zones import parse_zone
from fxgpt_core.market.files import importing, reading
from fxgpt_core.market.files.importing import import_file, import_files
from fxgpt_core.market.files.layouts.layout import symbol_in
from fxgpt_core.market.files.reading import read_file
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.zones import to_local
from fxgpt_core.store.clock import FixedClock


def _lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _file(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _same_prices(got: Candles, expected: Candles) -> None:
    for name in ("ts_utc", "open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


# Real files of the source formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tz", "layout", "zone", "side", "code", "reference"),
    [
        ("histdata_DAT_ASCII_EURUSD_M1_201703.csv", None, "histdata", "America/New_York", "bid", "1m",
         "m1_histdata_2017/EURUSD_1m_bid.parquet"),
        ("mt4_EURUSD5.csv", None, "mt4", "New York+7", "bid", "5m", "m5_mt4_2019_2020/EURUSD_5m.parquet"),
        ("mt5_points_GBPUSDh1.csv", None, "mt5_points", "Europe/Berlin", "bid", "1h",
         "h1h4_mt5_2012_2020/GBPUSD_1h.parquet"),
        ("fxcm_gbpusd-m1-ask.csv", None, "csv", "UTC", "ask", "1m", "m1_fxcm_2012/GBPUSD_1m_ask.parquet"),
        ("fxcm_gbpusd-m1-bid.csv", None, "csv", "UTC", "bid", "1m", "m1_fxcm_2012/GBPUSD_1m_bid.parquet"),
    ],
)  # fmt: skip
def test_raw_exports_are_recognised_and_agree_with_bars_converted_elsewhere(
    tmp_path: Path, name: str, tz: str | None, layout: str, zone: str, side: str, code: str, reference: str
) -> None:
    lake = _lake(tmp_path)
    result = import_file(lake, shared(f"raw_samples/{name}"), tz=tz)
    assert (result.layout, result.time_zone, result.side, result.timeframe) == (layout, zone, side, code)
    candles = load_candles(lake, result.symbol, code)
    expected = Candles.from_frame(pd.read_parquet(shared(reference)), result.symbol, code, side)
    at = np.searchsorted(expected.ts_utc, candles.ts_utc)
    assert (expected.ts_utc[at] == candles.ts_utc).all()
    for price in ("open", "high", "low", "close"):
        np.testing.assert_allclose(getattr(candles, price), getattr(expected.take(at), price), atol=1e-9)


def test_real_five_minute_parquet_is_taken_whole_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    lake, path = _lake(tmp_path), shared("m5_mt4_2019_2020/GBPUSD_5m.parquet")
    first = import_file(lake, path)
    assert (first.rows_imported, first.rows_changed, first.symbol) == (45_410, 45_410, "GBPUSD")
    before = content(lake.root)
    assert import_file(lake, path).rows_changed == 0
    assert content(lake.root) == before


# Generated files of every spelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_headered_text_round_trips(tmp_path: Path, separator: str) -> None:
    candles, lake = bars(400), _lake(tmp_path)
    result = import_file(lake, _file(tmp_path, "eur_usd.csv", as_csv(candles, separator=separator)), side="mid")
    assert (result.symbol, result.layout, result.timeframe, result.time_zone) == ("EURUSD", "csv", "1h", "UTC")
    assert (result.rows_read, result.rows_imported, result.quarantined) == (400, 400, {})
    _same_prices(load_candles(lake, "EURUSD", "1h"), candles)


def test_decimal_commas_bom_quotes_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    candles = bars(400)
    text = as_csv(candles, separator=";").replace(".", ",").replace("\n", "\r\n").replace("open", '"open"')
    raw = read_file(_file(tmp_path, "EURUSD.csv", b"\xef\xbb\xbf" + text.encode()), tz="UTC")
    np.testing.assert_array_equal(pd.to_numeric(raw.frame["close"]).to_numpy(), candles.close)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "EST", "New York+7", "Europe/Athens", "Europe/Berlin"])
def test_the_clock_of_naive_stamps_is_inferred_from_the_week_edges(tmp_path: Path, zone: str) -> None:
    # From February to May New York, London and fixed clocks part company.
    candles = bars(24 * 5 * 13, start=np.datetime64("2024-02-12T00:00"))
    clock = parse_zone(zone)
    local = to_local(candles.ts_utc, clock.base) + np.timedelta64(round(clock.shift), "h")
    frame = candles.to_frame().reset_index().rename(columns={"ts_utc": "date"})
    frame["date"] = pd.DatetimeIndex(local).strftime("%Y.%m.%d %H:%M")
    raw = read_file(_file(tmp_path, "EURUSD.csv", frame.drop(columns="spread").to_csv(index=False)))
    assert raw.time_zone == zone
    assert raw.time_zone_how.startswith(f"inferred: read as {zone}, 26 of 26")
    np.testing.assert_array_equal(raw.frame["ts_utc"].dt.tz_localize(None).to_numpy(), candles.ts_utc)


def test_one_week_edge_is_not_enough_to_tell_two_clocks_apart(tmp_path: Path) -> None:
    # Athens leaves summer time a week before New York: two edges tell it from New York + 7 h; one of them is cut away.
    candles = bars(24 * 5 * 4, start=np.datetime64("2024-10-14T00:00"))
    wall = candles.to_frame().tz_convert("Europe/Athens").tz_localize(None).rename_axis("time")
    whole, cut = tmp_path / "EURUSD_1.parquet", tmp_path / "EURUSD_2.parquet"
    wall.to_parquet(whole)
    opening = (candles.ts_utc >= np.datetime64("2024-10-27T21:00")) & (
        candles.ts_utc < np.datetime64("2024-10-27T23:00")
    )
    assert opening.sum() == 2
    wall[~opening].to_parquet(cut)
    assert read_file(whole).time_zone == "Europe/Athens"
    with pytest.raises(BadInputError, match="is unclear: Europe/Athens explains 7 of 8"):
        read_file(cut)


def test_metatrader_export_with_angle_brackets_uses_tick_volume_and_scales_its_spread(tmp_path: Path) -> None:
    candles = bars(300)
    stamps = pd.DatetimeIndex(candles.ts_utc)
    lines = ["<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"]
    for stamp, o, h, low, c in zip(stamps, candles.open, candles.high, candles.low, candles.close, strict=True):
        lines.append(f"{stamp:%Y.%m.%d}\t{stamp:%H:%M:%S}\t{o}\t{h}\t{low}\t{c}\t77\t0\t12")
    raw = read_file(_file(tmp_path, "EURUSD_H1.csv", "\n".join(lines).encode("utf-16")), tz="UTC")
    assert (raw.layout, raw.delimiter, raw.side_how) == ("mt5", "tab", "MetaTrader exports bid bars")
    assert set(raw.frame["volume"]) == {77.0}
    assert set(raw.frame["spread"]) == {0.00012}


@pytest.mark.parametrize(
    ("form", "tz_known"),
    [("%Y-%m-%dT%H:%M:%SZ", True), ("%Y-%m-%d %H:%M:%S+00:00", True), ("%d.%m.%Y %H:%M:%S.000 GMT+0000", True),
     ("%s", True), ("%m/%d/%Y %H:%M", False), ("%Y%m%d %H%M%S", False)],
)  # fmt: skip
def test_stamp_formats(tmp_path: Path, form: str, tz_known: bool) -> None:
    candles = bars(600)
    frame = candles.to_frame().reset_index().rename(columns={"ts_utc": "time"}).drop(columns="spread")
    seconds = candles.ts_utc.astype("datetime64[s]").astype(int)
    frame["time"] = [str(s) for s in seconds] if form == "%s" else pd.DatetimeIndex(candles.ts_utc).strftime(form)
    raw = read_file(_file(tmp_path, "EURUSD.csv", frame.to_csv(index=False)))
    np.testing.assert_array_equal(raw.frame["ts_utc"].dt.tz_localize(None).to_numpy(), candles.ts_utc)
    assert raw.time_zone_how.startswith("the stamps say so") == tz_known


def test_parquet_with_a_naive_index_needs_its_clock_and_then_comes_in(tmp_path: Path) -> None:
    candles = bars(60)
    frame = candles.to_frame().tz_localize(None).rename_axis("Date")
    frame.to_parquet(tmp_path / "EURUSD.parquet")
    with pytest.raises(BadInputError, match="without a weekend in the file"):
        read_file(tmp_path / "EURUSD.parquet", timeframe="1h")
    assert len(read_file(tmp_path / "EURUSD.parquet", tz="UTC").frame) == 60


# Rows that cannot be used --------------------------------------------------------------------------------------------


def test_bad_rows_go_to_quarantine_with_counts_and_the_rest_comes_in(tmp_path: Path) -> None:
    candles, lake = bars(400), _lake(tmp_path)
    lines = as_csv(candles).splitlines()
    head, rows = lines[0], lines[1:]
    fields = rows[10].split(",")
    rows[10] = ",".join([fields[0], "abc", *fields[2:]])
    rows[20] = rows[20].replace(",1.", ",-1.")
    fields = rows[30].split(",")
    rows[30] = ",".join([fields[0], fields[1], fields[3], str(float(fields[2]) + 1), *fields[4:]])
    rows[40] = "not a time," + rows[40].split(",", 1)[1]
    rows[50] += ",1,2,3"
    rows[60] = "2024-01-05 10:00:00,1.1"
    rows += [rows[100], rows[101]]
    rows[200], rows[201] = rows[201], rows[200]
    result = import_file(lake, _file(tmp_path, "EURUSD.csv", "\n".join([head, *rows])), tz="UTC", side="mid")
    assert result.quarantined == {
        "malformed": 2, "bad_time": 1, "non_numeric": 1, "not_positive": 1, "high_below_low": 1, "duplicate": 2,
    }  # fmt: skip
    assert result.rows_read == 402 == result.rows_imported + sum(result.quarantined.values())
    assert result.unsorted >= 1
    assert len(load_candles(lake, "EURUSD", "1h")) == 394
    kept = lake.query("SELECT reason, stamp, open, source FROM quarantine ORDER BY reason").to_pylist()
    assert len(kept) == 8
    assert {"reason": "non_numeric", "stamp": str(candles.ts_utc[10])[:19].replace("T", " "), "open": "abc",
            "source": "EURUSD.csv"} in kept  # fmt: skip


def test_corrected_bars_replace_what_was_there_and_are_counted(tmp_path: Path) -> None:
    candles, lake = bars(400), _lake(tmp_path)
    import_file(lake, _file(tmp_path, "EURUSD.csv", as_csv(candles)), side="mid")
    candles.high[5] += 0.01
    more = bars(420)
    joined = Candles.from_frame(pd.concat([candles.to_frame(), more.to_frame().iloc[400:]]), "EURUSD", "1h", "mid")
    assert import_file(lake, _file(tmp_path, "EURUSD.csv", as_csv(joined)), side="mid").rows_changed == 21
    _same_prices(load_candles(lake, "EURUSD", "1h"), joined)


# Files that cannot be used -------------------------------------------------------------------------------------------

GOOD = as_csv(bars(300))
BAD: dict[str, tuple[str, str | bytes, dict[str, str], str]] = {
    "empty": ("EURUSD.csv", b"", {}, "is empty"),
    "blank": ("EURUSD.csv", b"\n \n\n", {}, "is empty"),
    "only a header": ("EURUSD.csv", GOOD.splitlines()[0], {}, "has a header but no rows"),
    "binary": ("EURUSD.csv", bytes(range(256)) * 40, {}, "is a binary file"),
    "zip": ("EURUSD.zip", b"PK\x03\x04\x00\x00" + bytes(100), {}, "is a damaged zip archive"),
    "damaged parquet": ("EURUSD.parquet", b"PAR1 and then nothing", {}, "damaged Parquet"),
    "pipes": ("EURUSD.csv", GOOD.replace(",", "|"), {}, r"separated by '\|'"),
    "prose": ("EURUSD.csv", "Dear reader\nthis is a letter\n", {}, "first line is 'Dear reader'"),
    "no header": ("EURUSD.csv", "\n".join(GOOD.splitlines()[1:]), {}, "has no header"),
    "no close": ("EURUSD.csv", GOOD.replace("close", "klose"), {}, "lacks close"),
    "wrong layout": ("EURUSD.csv", GOOD, {"layout": "histdata"}, "looks like layout csv, not histdata"),
    "unknown layout":
        ("EURUSD.csv", GOOD, {"layout": "histdat"}, r"did you mean histdata\? There are csv, .*mt5_points"),
    "unknown zone": ("EURUSD.csv", GOOD, {"tz": "Europe/Atens"}, r"did you mean Europe/Athens\?"),
    "misspelt symbol": ("bars.csv", GOOD, {"symbol": "EURUSS"}, r"USS is not a known currency; did you mean USD\?"),
    "no symbol": ("bars.csv", GOOD, {}, "--symbol EURUSD"),
    "unknown side": ("EURUSD.csv", GOOD, {"side": "last"}, "use one of mid, bid, ask"),
    "other timeframe": ("EURUSD.csv", GOOD, {"timeframe": "5m"}, "mostly 1h apart, not 5m"),
    "unknown timeframe": ("EURUSD.csv", GOOD, {"timeframe": "7m"}, "Unknown timeframe '7m'"),
    "nothing usable": ("EURUSD.csv", GOOD.replace(",1.", ",-1."), {"tz": "UTC"}, "none of 300 rows can be used"),
    "no time": ("EURUSD.csv", GOOD.replace("2024-", "xx"), {}, "in no known format"),
    "undecided clock": ("EURUSD.csv", "\n".join(GOOD.splitlines()[:20]), {}, "say it with --tz"),
    "a clock of half hours": ("EURUSD.csv", as_csv(bars(600), 4).replace(":00:00", ":30:00"), {}, "is unclear"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence_and_the_lake_stays(tmp_path: Path, case: str) -> None:
    name, data, options, message = BAD[case]
    lake = _lake(tmp_path)
    import_file(lake, _file(tmp_path, "GBPUSD_mid.csv", GOOD))
    before = content(lake.root)
    with pytest.raises(BadInputError, match=message) as caught:
        import_file(lake, _file(tmp_path, name, data), **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert content(lake.root) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"EURUSD\.csv cannot be read: No such file"):
        import_file(_lake(tmp_path), tmp_path / "EURUSD.csv")


def test_another_price_side_is_refused(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    import_file(lake, _file(tmp_path, "EURUSD_bid.csv", GOOD))
    with pytest.raises(BadInputError, match="holds bid bars of EURUSD 1h, and these are mid"):
        import_file(lake, _file(tmp_path, "EURUSD_mid.csv", GOOD))


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("DAT_ASCII_EURUSD_M1_201703.csv", "EURUSD"), ("eur-usd.csv", "EURUSD"), ("fxcm_gbpusd-m1-ask.csv", "GBPUSD"),
     ("USD_JPY.parquet", "USDJPY"), ("bars.csv", None), ("XEURUSDX.csv", "EURUSD")],
)  # fmt: skip
def test_symbols_are_found_in_file_names(name: str, symbol: str | None) -> None:
    assert symbol_in(name) == symbol


@pytest.mark.parametrize(
    ("text", "name", "hours"),
    [("utc", "UTC", 0), ("EST", "EST", -5), ("new_york+7", "New York+7", 2), ("UTC+5:30", "UTC+5:30", 5.5),
     ("utc-3", "UTC-3", -3), ("europe/athens", "Europe/Athens", 2), ("GMT", "UTC", 0)],
)  # fmt: skip
def test_clocks_are_named_in_many_ways(text: str, name: str, hours: float) -> None:
    zone = parse_zone(text)
    winter = np.array([np.datetime64("2024-01-15T12:00", "ns")])
    assert zone.name == name
    assert (winter - zone.to_utc(winter))[0] / np.timedelta64(1, "h") == hours


def test_a_clock_farther_than_any_clock_is_refused() -> None:
    with pytest.raises(BadInputError, match="14 h"):
        parse_zone("New York+99")


def test_unreadable_volumes_are_counted(tmp_path: Path) -> None:
    frame = bars(300).to_frame().reset_index().drop(columns="spread").astype({"volume": object})
    frame.loc[[3, 7], "volume"] = "12 lots"
    frame.loc[9, "volume"] = None
    result = import_file(_lake(tmp_path), _file(tmp_path, "EURUSD.csv", frame.to_csv(index=False)))
    assert result.warnings == ("Volumes that are no numbers, such as '12 lots', count as unknown: 2.",)


@pytest.mark.parametrize(("module", "name"), [(reading, "read_table"), (reading, "to_prices"), (importing, "judge")])
def test_a_fault_in_one_file_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    bad, whole = _file(tmp_path, "EURUSD.csv", as_csv(bars(250))), getattr(module, name)
    good = [_file(tmp_path, "EURUSD_2.csv", GOOD), _file(tmp_path, "GBPUSD.csv", GOOD)]

    def fail(first: Any, *more: Any) -> Any:
        if getattr(first, "path", None) == bad or (name == "to_prices" and len(first) == 250):
            raise ZeroDivisionError("float division")
        return whole(first, *more)

    monkeypatch.setattr(module, name, fail)
    done = import_files(_lake(tmp_path), [bad, *good])
    assert [result.path for result in done.results] == [str(path) for path in good]
    ((path, error),) = done.failed
    assert (path, str(error)) == (bad, f"{bad}: unexpected ZeroDivisionError: float division.")


# Time and level ------------------------------------------------------------------------------------------------------


def test_bars_that_close_after_now_are_set_aside(tmp_path: Path) -> None:
    candles = bars(400)
    now = FixedClock(pd.Timestamp(candles.ts_utc[300], tz="UTC").to_pydatetime() + timedelta(minutes=59))
    path = _file(tmp_path, "EURUSD.csv", as_csv(candles))
    result = import_file(_lake(tmp_path), path, tz="UTC", clock=now)
    assert (result.rows_imported, result.quarantined) == (300, {"future": 100})
    assert import_file(_lake(tmp_path), path, tz="UTC").quarantined == {}
    early = FixedClock(datetime(2023, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInputError, match=r"none of 400 rows can be used \(400 future\)"):
        import_file(Lake(tmp_path / "other"), path, tz="UTC", clock=early)


def _scaled(candles: Candles, factor: float) -> str:
    frame = candles.to_frame().reset_index().drop(columns="spread")
    frame[["open", "high", "low", "close"]] *= factor
    return frame.to_csv(index=False)


def test_other_prices_at_the_times_of_stored_bars_are_refused_and_the_lake_stays(tmp_path: Path) -> None:
    lake, candles = _lake(tmp_path), bars(1500)
    import_file(lake, _file(tmp_path, "EURUSD_mid.csv", as_csv(candles)), tz="UTC")
    before = content(lake.root)
    for rows in (slice(0, 1500), slice(700, 1500), slice(400, 600)):
        with pytest.raises(BadInputError, match=r"prices 1\.1 times as high; the lake is as it was"):
            import_file(lake, _file(tmp_path, "EURUSD_mid_2.csv", _scaled(candles.take(rows), 1.1)))
    assert content(lake.root) == before


def test_a_correction_of_wrong_bars_comes_in_with_a_word(tmp_path: Path) -> None:
    lake, candles = _lake(tmp_path), bars(1500)
    wrong = candles.to_frame().reset_index().drop(columns="spread")
    wrong.loc[400:599, ["open", "high", "low", "close"]] *= 1.1
    import_file(lake, _file(tmp_path, "EURUSD_mid.csv", wrong.to_csv(index=False)))
    result = import_file(lake, _file(tmp_path, "EURUSD_mid_2.csv", as_csv(candles.take(slice(400, 600)))), tz="UTC")
    assert result.rows_changed == 200
    assert result.warnings[0].startswith("Corrects stored bars: 200 of its bars")


def test_bars_that_go_on_elsewhere_are_warned_of(tmp_path: Path) -> None:
    lake, candles = _lake(tmp_path), bars(1500)
    import_file(lake, _file(tmp_path, "EURUSD_mid.csv", as_csv(candles.take(slice(0, 800)))), tz="UTC")
    result = import_file(lake, _file(tmp_path, "EURUSD_mid_2.csv", _scaled(candles.take(slice(800, 1500)), 1.2)))
    assert "Where these bars meet the stored ones, 2024-02-16T" in result.warnings[0]
    assert result.price_low < result.price_high


def test_bid_and_ask_that_do_not_belong_together_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candles, whole = bars(400), Lake.read_manifest
    crossed = {"month=2024-01": 300, "month=2023-12": 9999}
    path = _file(tmp_path, "EURUSD_mid.csv", as_csv(candles))

    def with_crossed(self: Lake, *more: Any) -> Manifest | None:
        found = whole(self, *more)
        return None if found is None else replace(found, extra={**found.extra, "crossed": crossed})

    monkeypatch.setattr(Lake, "read_manifest", with_crossed)
    (warning,) = import_file(_lake(tmp_path), path, tz="UTC").warnings
    assert warning.startswith("In 300 of 400 mid bars the ask lies below the bid")
    crossed["month=2024-01"] = 10
    assert import_file(Lake(tmp_path / "other"), path, tz="UTC").warnings == ()
