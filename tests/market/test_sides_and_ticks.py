"""Bid and ask bars, or quotes, become mid bars with spreads."""

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.sides import combine_sides
from fxgpt_core.market.ticks import bars_from_ticks

MINUTE = timeframe("1m")


def _bars(side: str, minutes: list[int], prices: list[float]) -> Candles:
    frame = pd.DataFrame(
        {"ts_utc": pd.Timestamp("2024-03-05 10:00", tz="UTC") + pd.to_timedelta(minutes, unit="min")}
    ).assign(**{name: prices for name in ("open", "high", "low", "close")})
    return Candles.from_frame(frame, "EURUSD", MINUTE, side)


def test_mid_is_the_mean_and_spread_the_distance_of_the_two_sides() -> None:
    mid = combine_sides(_bars("bid", [0, 1], [1.1, 1.2]), _bars("ask", [0, 1], [1.1002, 1.2004]))
    assert mid.side == "mid"
    np.testing.assert_allclose(mid.close, [1.1001, 1.2002])
    np.testing.assert_allclose(mid.spread, [0.0002, 0.0004])


def test_bars_that_only_one_side_has_make_no_mid_bar() -> None:
    mid = combine_sides(_bars("bid", [0, 1, 3], [1.1] * 3), _bars("ask", [1, 2, 3], [1.2] * 3))
    assert list(mid.ts_utc.astype("datetime64[m]").astype(str)) == ["2024-03-05T10:01", "2024-03-05T10:03"]


def test_a_crossed_pair_of_bars_has_an_unknown_spread() -> None:
    mid = combine_sides(_bars("bid", [0], [1.2]), _bars("ask", [0], [1.1]))
    assert np.isnan(mid.spread[0])


def test_two_bars_of_one_side_are_refused() -> None:
    with pytest.raises(DataError, match="give bid and ask"):
        combine_sides(_bars("bid", [0], [1.1]), _bars("bid", [0], [1.1]))


def test_bars_of_ticks_equal_those_of_pandas() -> None:
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.integers(0, 3600, 500))
    times = np.datetime64("2024-03-05T10:00:00", "ns") + seconds * np.timedelta64(1_000_000_000, "ns")
    bid = 1.1 + rng.normal(0, 1e-4, 500).cumsum()
    ask = bid + rng.uniform(0, 2e-4, 500)
    bars = bars_from_ticks(times, bid, ask, "EURUSD", timeframe("5m"))
    quotes = pd.DataFrame({"mid": (bid + ask) / 2, "spread": ask - bid}, index=pd.DatetimeIndex(times, tz="UTC"))
    expected = quotes["mid"].resample("5min").ohlc().dropna()
    np.testing.assert_array_equal(bars.to_frame()[["open", "high", "low", "close"]].to_numpy(), expected.to_numpy())
    np.testing.assert_array_equal(bars.volume, quotes["mid"].resample("5min").count().loc[expected.index])
    np.testing.assert_allclose(bars.spread, quotes["spread"].resample("5min").mean().loc[expected.index])


def test_a_running_bar_of_ticks_is_left_out() -> None:
    times = np.array(["2024-03-05T10:00:10", "2024-03-05T10:01:10"], dtype="datetime64[ns]")
    prices = np.array([1.1, 1.2])
    assert len(bars_from_ticks(times, prices, prices, "EURUSD", MINUTE)) == 2
    now = np.datetime64("2024-03-05T10:01:59", "ns")
    assert len(bars_from_ticks(times, prices, prices, "EURUSD", MINUTE, known_until=now)) == 1


def test_ticks_out_of_order_are_refused() -> None:
    times = np.array(["2024-03-05T10:01:10", "2024-03-05T10:00:10"], dtype="datetime64[ns]")
    with pytest.raises(DataError, match="sort them"):
        bars_from_ticks(times, np.ones(2), np.ones(2), "EURUSD", MINUTE)
