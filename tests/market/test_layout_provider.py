"""Files below a folder as a provider: chunks by month, both sides combined, slower bars made of faster ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from file_makers import bi5_ticks, put
from market_helpers import as_csv, bars

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.providers.files import Config, LocalFiles
from fxgpt_core.market.providers.provider import ProviderError
from fxgpt_core.market.resampling import resample

START, END = np.datetime64("2023-12-01", "ns"), np.datetime64("2030-01-01", "ns")


def test_chunks_are_months_that_follow_each_other_and_end_with_the_files(tmp_path: Path) -> None:
    candles = bars(1500)
    half = len(candles) // 2
    put(tmp_path, "a/EURUSD_mid.csv", as_csv(candles.take(slice(0, half + 5))))
    put(tmp_path, "b/EURUSD_mid.csv", as_csv(candles.take(slice(half, len(candles)))))
    files = LocalFiles(Config(folder=str(tmp_path), tz="UTC"))
    assert (files.name, files.side) == (f"files:{tmp_path}", "mid")
    chunks = list(files.fetch("EURUSD", timeframe("1h"), START, END))
    assert chunks[0].start == START
    assert chunks[-1].end == candles.known_at[-1]
    assert all(one.end == other.start for one, other in itertools.pairwise(chunks))
    assert len(chunks) == len({str(chunk.start)[:7] for chunk in chunks})
    np.testing.assert_array_equal(np.concatenate([chunk.candles.ts_utc for chunk in chunks]), candles.ts_utc)
    np.testing.assert_array_equal(np.concatenate([chunk.candles.close for chunk in chunks]), candles.close)
    slow = list(files.fetch("EURUSD", timeframe("4h"), START, END))
    np.testing.assert_array_equal(
        np.concatenate([chunk.candles.close for chunk in slow]), resample(candles, "4h").close
    )


def test_bid_and_ask_files_are_mid_bars_and_bad_rows_are_set_aside_once(tmp_path: Path) -> None:
    candles = bars(300)
    put(tmp_path, "EURUSD_bid.csv", as_csv(candles).replace("2024-01-03 05:00:00,", "2024-01-03 05:00:00,x"))
    put(tmp_path, "EURUSD_ask.csv", as_csv(candles))
    files = LocalFiles(Config(folder=str(tmp_path), tz="UTC"))
    chunks = list(files.fetch("EURUSD", timeframe("1h"), START, END))
    assert files.side == "mid"
    assert sum(len(chunk.candles) for chunk in chunks) == 299
    aside = [chunk.set_aside for chunk in chunks if chunk.set_aside is not None]
    assert [list(rows["reason"]) for rows in aside] == [["non_numeric"]]


def test_ticks_are_bars_too(tmp_path: Path) -> None:
    at = np.arange(0, 3_600_000, 1000)
    put(tmp_path, "EURUSD/2018/03/03/13h_ticks.bi5", bi5_ticks(at, at * 0 + 1.1, at * 0 + 1.1001, 1e5))
    chunks = list(LocalFiles(Config(folder=str(tmp_path))).fetch("EURUSD", timeframe("5m"), START - (END - START), END))
    assert sum(len(chunk.candles) for chunk in chunks) == 12
    assert {float(volume) for chunk in chunks for volume in chunk.candles.volume} == {300.0}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"No file in .* is named \*\.csv"):
        list(LocalFiles(Config(folder=str(tmp_path), pattern="*.csv")).fetch("EURUSD", timeframe("1h"), START, END))
    put(tmp_path, "EURUSD.csv", as_csv(bars(300)))
    files = LocalFiles(Config(folder=str(tmp_path), tz="UTC"))
    for symbol, code in (("GBPUSD", "1h"), ("EURUSD", "5m")):
        with pytest.raises(ProviderError, match=f"no bars of {symbol} that are {code} or faster"):
            list(files.fetch(symbol, timeframe(code), START, END))
    put(tmp_path, "notes.csv", "hello")
    (tmp_path / "EURUSD.csv").unlink()
    with pytest.raises(ProviderError, match=r"No file in .* holds bars: .*notes.csv"):
        list(LocalFiles(Config(folder=str(tmp_path))).fetch("EURUSD", timeframe("1h"), START, END))
