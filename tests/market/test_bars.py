"""Given bars: sides that meet, files that mend or extend each other, and imports that break off."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from market_helpers import as_csv, content
from market_helpers import bars as simulated

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bars import ONE_SIDED, bar_keys, checksum
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import load_candles, update_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.market.sides import combine_sides
from fxgpt_core.market.source_bars import source_fingerprint

HOUR = timeframe("1h")
KEYS = bar_keys("EURUSD", HOUR)
QUALITY = QualityConfig()


def bars(count: int, start: str = "2024-01-02T00:00") -> Candles:
    """Return simulated bars as a file holds them: without a spread."""
    return _shifted(simulated(count, start=np.datetime64(start)), "mid", 0.0)


def _import(lake: Lake, folder: Path, candles: Candles, name: str = "EURUSD_mid.csv") -> int:
    path = folder / name
    path.write_text(as_csv(candles))
    return import_file(lake, path, tz="UTC", timeframe=candles.timeframe).rows_changed


def _shifted(candles: Candles, side: str, by: float) -> Candles:
    frame = candles.to_frame()[["open", "high", "low", "close", "volume"]]
    frame[["open", "high", "low", "close"]] = (frame[["open", "high", "low", "close"]] + by).round(5)
    return Candles.from_frame(frame, candles.symbol, candles.timeframe, side)


def test_bid_and_ask_files_meet_as_mid_bars_whichever_comes_first(tmp_path: Path) -> None:
    bid, ask = _shifted(bars(900), "bid", -0.0001), _shifted(bars(900), "ask", 0.0001)
    found = []
    for order in (("bid", "ask"), ("ask", "bid")):
        lake = Lake(tmp_path / order[0])
        for side in order:
            _import(lake, tmp_path, {"bid": bid, "ask": ask}[side], f"EURUSD_{side}.csv")
        found.append(load_candles(lake, "EURUSD", "1h"))
    assert found[0].side == found[1].side == "mid"
    assert checksum(found[0]) == checksum(found[1]) == checksum(combine_sides(bid, ask))
    np.testing.assert_allclose(found[0].spread, 0.0002, atol=1e-9)


def test_a_side_that_grows_later_adds_the_bars_that_both_then_have(tmp_path: Path) -> None:
    lake, bid, ask = Lake(tmp_path / "lake"), _shifted(bars(1500), "bid", -1e-4), _shifted(bars(1500), "ask", 1e-4)
    _import(lake, tmp_path, bid, "EURUSD_bid.csv")
    _import(lake, tmp_path, ask.take(slice(0, 1000)), "EURUSD_ask.csv")
    assert len(load_candles(lake, "EURUSD", "1h")) == 1000
    manifest = lake.read_manifest("candles", KEYS)
    assert manifest is not None
    assert sum(counts["bid"] for counts in manifest.extra["one_sided"].values()) == 500
    _import(lake, tmp_path, ask.take(slice(990, 1500)), "EURUSD_ask.csv")
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(combine_sides(bid, ask))
    assert len(lake.read(ONE_SIDED, {**KEYS, "side": "bid"})) == 1500  # both sides are kept as they came
    with pytest.raises(BadInputError, match="combines bid and ask bars of EURUSD 1h: import those, not mid"):
        _import(lake, tmp_path, bars(10))


class _Broken(Exception):
    """Stands for a kill between two writes."""


def _break_off(lake: Lake, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the lake die at its write number `after`, of parts and manifests alike."""
    left = after

    def counted(name: str) -> None:
        write = getattr(lake, name)

        def dying(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise _Broken
            return write(*arguments, **options)

        monkeypatch.setattr(lake, name, dying)

    for name in ("write", "upsert", "write_manifest", "remove"):
        counted(name)


@pytest.mark.parametrize("after", range(18))
def test_wherever_a_combination_breaks_off_nothing_false_is_read_and_importing_again_mends_it(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid, ask = _shifted(bars(1500), "bid", -1e-4), _shifted(bars(1500), "ask", 1e-4)
    lake, whole = Lake(tmp_path / "lake"), combine_sides(bid, ask)
    _import(lake, tmp_path, bid, "EURUSD_bid.csv")
    with monkeypatch.context() as patch:
        _break_off(lake, patch, after)
        with contextlib.suppress(_Broken):
            _import(lake, tmp_path, ask, "EURUSD_ask.csv")
    with contextlib.suppress(DataError):  # while months are made anew there may be none to see
        seen = load_candles(lake, "EURUSD", "1h")
        expected = whole if seen.side == "mid" else bid
        assert set(seen.ts_utc) <= set(expected.ts_utc)
        assert checksum(seen) == checksum(expected.take(np.isin(expected.ts_utc, seen.ts_utc)))
    _import(lake, tmp_path, ask, "EURUSD_ask.csv")
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(whole)


@pytest.mark.parametrize("after", range(6))
def test_an_import_that_broke_off_is_told_from_a_finished_one_and_settled(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, candles = Lake(tmp_path / "lake"), bars(2000)
    _import(lake, tmp_path, candles.take(slice(0, 700)), "EURUSD_mid_1.csv")
    before = source_fingerprint(lake, "EURUSD", "1h", "import")
    with monkeypatch.context() as patch:
        _break_off(lake, patch, after)
        with pytest.raises(_Broken):
            _import(lake, tmp_path, candles.take(slice(500, 2000)), "EURUSD_mid_2.csv")
    assert after == 0 or source_fingerprint(lake, "EURUSD", "1h", "import") != before
    summary = update_candles(lake, "EURUSD", [HOUR, timeframe("1d")], "import", QUALITY)
    stored = load_candles(lake, "EURUSD", "1h")
    assert summary.rows["1h"] == len(stored)
    assert checksum(stored) == checksum(candles.take(np.isin(candles.ts_utc, stored.ts_utc)))
    _import(lake, tmp_path, candles.take(slice(500, 2000)), "EURUSD_mid_2.csv")
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(candles)


def _spoilt(candles: Candles, rows: slice) -> str:
    lines = as_csv(candles).splitlines()
    lines[rows] = [line.replace(",1.", ",x.") for line in lines[rows]]
    return "\n".join(lines)


def _quarantined(lake: Lake) -> dict[str, int]:
    return update_candles(lake, "EURUSD", [HOUR], "import", QUALITY).quality.quarantined


def test_a_mended_file_takes_its_bad_rows_back(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    path.write_text(_spoilt(bars(300), slice(11, 31)))
    import_file(lake, path, tz="UTC")
    assert _quarantined(lake) == {"non_numeric": 20}
    path.write_text(as_csv(bars(300)))
    import_file(lake, path, tz="UTC")
    assert _quarantined(lake) == {}
    path.write_text(_spoilt(bars(300), slice(11, 31)))  # it was there before, and the mended one came later
    import_file(lake, path, tz="UTC")
    assert _quarantined(lake) == {}
    path.write_text(_spoilt(bars(300), slice(11, 32)))  # and the other way round: the last file speaks
    import_file(lake, path, tz="UTC")
    assert _quarantined(lake) == {"non_numeric": 21}


def test_a_growing_export_counts_each_bad_row_once(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    for length in (300, 400, 500):
        path.write_text(_spoilt(bars(length), slice(11, 31)))
        import_file(lake, path, tz="UTC")
    assert _quarantined(lake) == {"non_numeric": 20}


def test_a_second_file_elsewhere_leaves_the_first_ones_bad_rows_counted(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    path.write_text(_spoilt(bars(300), slice(11, 31)))
    import_file(lake, path, tz="UTC")
    _import(lake, tmp_path, bars(600).take(slice(300, 600)), "EURUSD_mid_2.csv")
    assert _quarantined(lake) == {"non_numeric": 20}


def test_own_bars_that_overlap_the_sample_take_its_place(tmp_path: Path) -> None:
    lake, sample = Lake(tmp_path / "lake"), sample_candles()
    update_candles(lake, "EURUSD", [HOUR], "sample", QUALITY)
    own = bars(600, "2018-01-15T00:00")
    _import(lake, tmp_path, own)
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(own)
    aside = lake.read("candles_superseded", KEYS)
    assert checksum(Candles.from_arrow(aside, "EURUSD", HOUR, "mid")) == checksum(sample)
    with pytest.raises(DataError, match="set the asset's source to import"):
        update_candles(lake, "EURUSD", [HOUR], "sample", QUALITY)


def test_importing_the_last_file_again_changes_no_byte(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    _import(lake, tmp_path, bars(1500))
    before = content(tmp_path / "lake")
    assert _import(lake, tmp_path, bars(1500)) == 0
    assert content(tmp_path / "lake") == before


def test_months_asked_for_are_derived_again(tmp_path: Path) -> None:
    lake, frames = Lake(tmp_path / "lake"), [HOUR, timeframe("4h")]
    _import(lake, tmp_path, bars(1500))
    update_candles(lake, "EURUSD", frames, "import", QUALITY)
    again = update_candles(lake, "EURUSD", frames, "import", QUALITY, months=["2024-02"])
    assert (again.months_written, again.months_kept) == ({"4h": 1}, {"4h": 2})
    with pytest.raises(BadInputError, match="EURUSD has no bars of 2031-01; it has 2024-01 to 2024-03"):
        update_candles(lake, "EURUSD", frames, "import", QUALITY, months=["2024-02", "2031-01"])
