"""The yardstick: right on average, right by time of week, causal, unmoved by missing bars and weekends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.features.seasonality import Shape, bucket_count, trading_position
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CONFIG = YardstickConfig()
START = np.datetime64("2023-01-02T00:00", "ns")
HORIZONS = (60, 240, 1440)
CANDLES = simulate("EURUSD", "1h", start=START, bars=5000, seed=11, clustering=0.4, jumps_per_week=0.0)
LABELS = make_labels(CANDLES, HORIZONS)
PATH = Yardstick(CONFIG).forecast(CANDLES, LABELS)


def test_standardised_returns_have_unit_variance_at_every_horizon() -> None:
    z = (LABELS.log_return / PATH)[3000:]
    np.testing.assert_allclose(np.nanstd(z, axis=0), 1.0, atol=0.12)


def test_it_knows_the_time_of_day_and_beats_the_plain_ewma() -> None:
    blind = Yardstick(CONFIG.model_copy(update={"seasonal": False})).forecast(CANDLES, LABELS)
    late = slice(2500, None)
    size = np.abs(LABELS.log_return)[late]
    loss = [np.nanmean(np.log(p[late]) + size / p[late] * np.sqrt(2), axis=0) for p in (PATH, blind)]
    assert (loss[0][:2] < loss[1][:2] - 0.02).all()
    hour = (CANDLES.known_at.astype("datetime64[h]").astype(int) % 24)[late]
    ratio = [PATH[late, 0][hour == h].mean() for h in (15, 23)]
    assert ratio[0] > 2 * ratio[1]  # the London-New York overlap against the rollover


@settings(max_examples=20, deadline=None)
@given(st.integers(600, len(CANDLES)))
def test_it_is_causal_to_the_bit(stop: int) -> None:
    cut = CANDLES.take(slice(0, stop))
    np.testing.assert_array_equal(Yardstick(CONFIG).forecast(cut, make_labels(cut, HORIZONS)), PATH[:stop])


def test_it_starts_after_twenty_trading_days() -> None:
    assert np.isnan(PATH[: 20 * 24]).all()
    assert np.isfinite(PATH[20 * 24 :]).all()


def test_a_horizon_over_the_weekend_gets_the_gap() -> None:
    before = np.flatnonzero(np.diff(CANDLES.ts_utc) > np.timedelta64(1, "D"))  # Friday's last bar
    before = before[before > 2500]
    crossing, ordinary = PATH[before, 0], PATH[before + 1, 0]
    assert np.median(crossing / ordinary) > 1.2


@pytest.mark.parametrize("code", ["5m", "15m", "1h"])
def test_bases_with_missing_bars_give_finite_forecasts(code: str) -> None:
    candles = simulate("EURUSD", code, start=START, bars=7000, seed=2)
    kept = np.random.default_rng(0).random(len(candles)) > 0.1
    sparse: Candles = candles.take(kept)
    path = Yardstick(CONFIG).forecast(sparse, make_labels(sparse, (60, 240)))
    late = path[-1500:] if code != "5m" else path[-300:]
    assert np.isfinite(late).all()
    assert (late[:, 1] > late[:, 0]).all()
    ratio = np.median(path[-300:]) / np.median(
        Yardstick(CONFIG).forecast(candles, make_labels(candles, (60, 240)))[-300:]
    )
    assert ratio == pytest.approx(1.0, abs=0.15)


def test_prices_that_never_move_give_the_floor_and_not_zero() -> None:
    flat = CANDLES.take(slice(0, 900))
    ones = np.ones(900)
    still = Candles("EURUSD", flat.timeframe, "mid", flat.ts_utc, ones, ones, ones, ones, ones, ones)
    path = Yardstick(CONFIG).forecast(still, make_labels(still, (60,)))
    assert (path[480:] > 0).all()


@pytest.mark.parametrize("level", ["ewma", "har"])
@pytest.mark.parametrize("strange", ["a peg that breaks", "stale at first"])
def test_one_strange_day_does_not_rule_for_months(strange: str, level: str) -> None:
    at, prices = 2000, {name: getattr(CANDLES, name).copy() for name in ("open", "high", "low", "close")}
    for price in prices.values():
        if strange == "a peg that breaks":
            price[at:] *= 0.75  # hundreds of deviations within an hour
        else:
            price[: at - 1000] = CANDLES.close[at - 1000]
    prices["open"][1:] = prices["close"][:-1]
    prices["high"], prices["low"] = np.max(list(prices.values()), axis=0), np.min(list(prices.values()), axis=0)
    odd = Candles(
        "EURUSD", CANDLES.timeframe, "mid", CANDLES.ts_utc, **prices, volume=CANDLES.volume, spread=CANDLES.spread
    )
    yardstick = Yardstick(CONFIG.model_copy(update={"level": level}))
    usual, path = (yardstick.forecast(bars, make_labels(bars, HORIZONS)) for bars in (CANDLES, odd))
    ratio = np.median((path / usual)[at + 500 : at + 1500], axis=0)
    assert (ratio < 1.5).all()
    assert (ratio > 0.8).all()


def test_variance_time_adds_up_over_a_week_and_puts_the_gap_after_the_close() -> None:
    shape = Shape(np.array([0.5, 1.5, 1.0, 1.0, 1.0]), gap=90.0)
    clock = shape.clock(np.array([0.0, 1440.0, 7200.0, 7201.0, 14400.0]))
    np.testing.assert_allclose(np.diff(clock), [90 + 720, 6480, 91 - 0.5, 7200 - 0.5])


def test_the_trading_clock_stands_still_on_weekends() -> None:
    friday, sunday = np.datetime64("2024-01-05T22:00", "ns"), np.datetime64("2024-01-07T22:00", "ns")
    position = trading_position(np.array([friday, sunday]))
    assert position[0] == position[1]
    assert position[0] % 7200 == 0


@pytest.mark.parametrize(("bar", "buckets"), [(5, 240), (60, 120), (240, 30), (1440, 5)])
def test_buckets_are_at_least_a_bar_and_divide_the_day(bar: int, buckets: int) -> None:
    assert bucket_count(CONFIG, bar) == buckets
