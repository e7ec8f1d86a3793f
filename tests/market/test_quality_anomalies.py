"""What counts as an outlier, a frozen price or a wrong clock, and what is only a lively or a quiet market."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from market_helpers import bars, shared

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market import calendar, zones
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.quality.anomalies import find_outliers, find_stale_runs, find_week_shifts
from fxgpt_core.market.quality.assessment import assess, assess_stored

START = np.datetime64("2024-01-10T00:00")  # Wednesday


def _quiet(count: int = 2000, bar: str = "5m", seed: int = 1) -> Candles:
    """Bars of a random walk with steps of one basis point."""
    opens = calendar.bar_opens(START, START + np.timedelta64(60, "D"), bar)[:count]
    close = 1.1 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 1e-4, count)))
    return _candles(opens, close, bar)


def _candles(opens: np.ndarray, close: np.ndarray, bar: str) -> Candles:
    opened = np.r_[close[0], close[:-1]]
    high, low = np.maximum(opened, close) * (1 + 2e-5), np.minimum(opened, close) * (1 - 2e-5)
    nothing = np.full(len(opens), np.nan)
    return Candles("EURUSD", timeframe(bar), "mid", opens, opened, high, low, close, nothing, nothing.copy())


def _outliers(candles: Candles) -> list[tuple[int, str]]:
    found = find_outliers(candles.to_frame(), candles.ts_utc, 30.0)
    return [(int(row), str(kind)) for row, kind in zip(found.rows, found.kinds, strict=True)]


def test_a_price_that_jumps_and_stays_and_one_that_comes_back_are_told_apart() -> None:
    quiet = _quiet()
    assert _outliers(quiet) == []
    close = quiet.close.copy()
    close[700:] *= 1.006
    close[1200] *= 0.994
    assert _outliers(_candles(quiet.ts_utc, close, "5m")) == [(700, "jump"), (1200, "spike")]


def test_a_spike_is_reported_from_half_the_size_of_a_jump_on() -> None:
    quiet = _quiet()
    close = quiet.close.copy()
    close[700:] *= 1.0018
    close[1200] *= 0.9982
    assert _outliers(_candles(quiet.ts_utc, close, "5m")) == [(1200, "spike")]


def test_a_wick_far_from_open_and_close_is_reported() -> None:
    quiet = _quiet()
    quiet.low[900] *= 0.99
    assert _outliers(quiet) == [(900, "wick")]


def test_a_burst_of_volatility_raises_its_own_bar() -> None:
    quiet, steps = _quiet(6000), np.random.default_rng(5).normal(0, 1, 6000)
    scale = np.full(6000, 1e-4)
    scale[3000:3300] = 2e-3  # twenty times livelier for a day
    steps[3150] = 15.0
    close = 1.1 * np.exp(np.cumsum(steps * scale))
    assert _outliers(_candles(quiet.ts_utc, close, "5m")) == []
    calm = np.where(np.arange(6000) == 3150, 15 * 20, steps) * 1e-4  # the same move out of the blue
    assert (3150, "jump") in _outliers(_candles(quiet.ts_utc, 1.1 * np.exp(np.cumsum(calm)), "5m"))


def test_weekend_gaps_are_moves() -> None:
    quiet = _quiet()
    monday = int(np.flatnonzero(quiet.ts_utc >= np.datetime64("2024-01-14T22:00"))[0])
    close = quiet.close.copy()
    close[monday:] *= 1.02
    assert _outliers(_candles(quiet.ts_utc, close, "5m")) == []


def _frozen(
    start: str, count: int, volume: float = np.nan, other: float = np.nan, history: int = 2000
) -> tuple[Candles, int]:
    candles = _quiet(history)
    first = int(np.searchsorted(candles.ts_utc, np.datetime64(start)))
    for name in ("open", "high", "low", "close"):
        getattr(candles, name)[first : first + count] = candles.close[first - 1]
    candles.volume[:] = other
    candles.volume[first : first + count] = volume
    return candles, first


def _stale(candles: Candles) -> list[tuple[int, int]]:
    found = find_stale_runs(candles.to_frame(), candles.ts_utc, 12, market_hours())
    return [(int(row), int(count)) for row, count in zip(found.rows, found.bars, strict=True)]


def test_a_price_that_stands_still_in_lively_hours_is_stale() -> None:
    candles, first = _frozen("2024-01-11T14:00", 15)
    assert _stale(candles) == [(first, 15)]
    assert _stale(_frozen("2024-01-11T14:00", 11)[0]) == []


def test_a_quiet_evening_is_not_stale_unless_ticks_came() -> None:
    assert _stale(_frozen("2024-01-11T22:30", 30)[0]) == []
    assert _stale(_frozen("2024-01-11T22:30", 30, volume=1, other=100)[0]) == []
    candles, first = _frozen("2024-01-11T22:30", 30, volume=40, other=100)
    assert _stale(candles) == [(first, 30)]


def test_where_the_venue_counts_no_ticks_in_that_hour_nothing_is_stale() -> None:
    assert _stale(_frozen("2024-01-11T14:00", 30, volume=0, other=1)[0]) == []
    candles, first = _frozen("2024-01-11T14:00", 30, volume=0, other=100)
    assert _stale(candles) == [(first, 30)]


def test_a_long_freeze_does_not_make_itself_usual() -> None:
    candles, first = _frozen("2024-01-11T08:00", 100, volume=0, other=100, history=1200)  # each hour once
    assert _stale(candles) == [(first, 100)]


def _on_another_clock(zone: str, shift: int) -> pd.DataFrame:
    """Two years of hourly bars whose stamps were converted with the clock changes of `zone`, not of New York."""
    candles = bars(24 * 5 * 104, "1h", start=np.datetime64("2022-01-04T00:00"))
    broker = zones.to_local(candles.ts_utc, "America/New_York") + np.timedelta64(7, "h")
    frame = candles.to_frame().reset_index()
    frame["ts_utc"] = pd.DatetimeIndex(zones.to_utc(broker - np.timedelta64(shift, "h"), zone)).tz_localize("UTC")
    return frame


def test_summer_time_of_another_country_is_found_in_the_weeks_in_which_it_differs() -> None:
    judged = assess(_on_another_clock("Europe/Athens", 0), "EURUSD", "1h")
    off = {month: count["shifted_weeks"] for month, count in judged.report.months.items() if count["shifted_weeks"]}
    assert off == {"2022-03": 2, "2022-11": 1, "2023-03": 2, "2023-11": 1}
    failures = judged.report.failures(QualityConfig(max_quarantined_share=1))
    assert failures == [
        "2022-03: the stamps of 2 weeks are off by whole hours (limit 1).",
        "2023-03: the stamps of 2 weeks are off by whole hours (limit 1).",
    ]
    candles = Candles.from_frame(judged.clean, "EURUSD", "1h", "mid")
    assert assess_stored(candles, judged.quarantine).months == judged.report.months
    assert not judged.report.failures(QualityConfig(block_on_suspect_time_zone=False))


def test_the_right_clock_has_no_shifted_weeks() -> None:
    assert assess(_on_another_clock("America/New_York", 7), "EURUSD", "1h").report.shifted_weeks == 0


@pytest.mark.parametrize("hours", [-7, -1, 1, 3])
def test_shifts_are_told_with_their_direction(hours: int) -> None:
    candles = bars(1000, start=np.datetime64("2024-01-09T00:00"))
    found = find_week_shifts(candles.ts_utc + np.timedelta64(hours, "h"), timeframe("1h"))
    assert len(found.weeks) == 7
    assert set(found.hours) == {hours}


def test_an_early_friday_or_a_stub_after_the_close_is_no_shift() -> None:
    frame = bars(1000, start=np.datetime64("2024-01-09T00:00")).to_frame().reset_index()
    first_hour = calendar.hour_of_week(frame["ts_utc"].dt.tz_localize(None).to_numpy()) == 0
    late = frame[~first_hour]
    assert assess(late, "EURUSD", "1h").report.shifted_weeks == 0
    stub = frame[first_hour].assign(open=1.1, high=1.1, low=1.1, close=1.1, volume=2.0)
    stub["ts_utc"] += pd.Timedelta(hours=120)
    report = assess(pd.concat([late, stub]), "EURUSD", "1h").report
    assert (report.quarantined, report.shifted_weeks) == ({"outside_market_hours": 8}, 0)
    for moving in (stub.assign(high=1.102, low=1.098, volume=np.nan), stub.assign(volume=500.0)):
        assert assess(pd.concat([late, moving]), "EURUSD", "1h").report.shifted_weeks == 8


@pytest.mark.parametrize(
    ("name", "bar", "most"),
    [
        ("m1_fxcm_2012/GBPUSD_1m_bid.parquet", "1m", 10),
        ("m1_histdata_2017/EURUSD_1m_bid.parquet", "1m", 10),
        ("m5_mt4_2019_2020/EURJPY_5m.parquet", "5m", 5),
        ("h1_oanda_2007_2018/EURUSD_1h_bid.parquet", "1h", 0),
        ("h1h4_mt5_2012_2020/USDJPY_1h.parquet", "1h", 3),
    ],
)
def test_real_bars_have_few_outliers_no_frozen_price_and_the_right_clock(name: str, bar: str, most: int) -> None:
    report = assess(pd.read_parquet(shared(name)), "EURUSD", bar).report
    assert report.outliers <= most
    assert (report.stale_runs, report.shifted_weeks) == (0, 0)
    assert report.failures(QualityConfig()) == []


def test_weeks_known_to_be_off_in_a_real_file_are_found() -> None:
    """Of this file the weeks of June 2013 are known to be an hour late; stubs of its Fridays are not."""
    report = assess(pd.read_parquet(shared("h1h4_mt5_2012_2020/GBPUSD_1h.parquet")), "GBPUSD", "1h").report
    assert {month for month, count in report.months.items() if count["shifted_weeks"]} == {"2013-06"}


def _shifted_week(first: str, last: str, hours: int = 1) -> pd.DataFrame:
    """Half a year of hourly bars of which a stretch is stamped by whole hours off."""
    frame = bars(24 * 5 * 26, start=np.datetime64("2024-01-09T00:00")).to_frame().reset_index()
    off = (frame["ts_utc"] >= pd.Timestamp(first, tz="UTC")) & (frame["ts_utc"] < pd.Timestamp(last, tz="UTC"))
    frame["ts_utc"] = frame["ts_utc"].mask(off, frame["ts_utc"] + pd.Timedelta(hours=hours))
    return frame


def test_one_week_off_by_an_hour_fails_its_month_unless_summer_time_explains_it() -> None:
    odd = assess(_shifted_week("2024-05-05T20:00", "2024-05-11"), "EURUSD", "1h").report
    assert odd.months["2024-05"]["odd_weeks"] == odd.shifted_weeks == 1
    (failure,) = odd.failures(QualityConfig())
    assert failure == "2024-05: the stamps of 1 week are off by whole hours that no summer time explains (limit 0)."
    spring = assess(_shifted_week("2024-03-10T20:00", "2024-03-16"), "EURUSD", "1h").report
    assert (spring.shifted_weeks, spring.months["2024-03"]["odd_weeks"]) == (1, 0)
    assert spring.failures(QualityConfig()) == []
    far = assess(_shifted_week("2024-03-10T20:00", "2024-03-16", 3), "EURUSD", "1h").report
    assert far.months["2024-03"]["odd_weeks"] == 1
