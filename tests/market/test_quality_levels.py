"""A factor of ten or a stretch of another pair's prices is a break; a crisis that moves a price is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from market_helpers import bars, shared

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.quality.assessment import assess
from fxgpt_core.market.quality.incidents import incidents
from fxgpt_core.market.quality.report import QualityReport
from fxgpt_core.market.resampling import resample

OHLC = ["open", "high", "low", "close"]
LIMITS = QualityConfig()


def _scaled(candles: Candles, first: str, last: str, factor: float) -> pd.DataFrame:
    frame = candles.to_frame().reset_index()
    rows = (frame["ts_utc"] >= pd.Timestamp(first, tz="UTC")) & (frame["ts_utc"] < pd.Timestamp(last, tz="UTC"))
    frame.loc[rows, OHLC] *= factor
    return frame


def _breaks(report: QualityReport) -> dict[str, int]:
    return {month: count["level_breaks"] for month, count in report.months.items() if count["level_breaks"]}


@pytest.mark.parametrize("factor", [100.0, 0.1, 10.0])
def test_a_month_on_another_scale_fails(factor: float) -> None:
    frame = _scaled(bars(3000), "2024-03-03T22:00", "2024-03-31T22:00", factor)  # from weekend to weekend
    report = assess(frame, "EURUSD", "1h").report
    assert _breaks(report) == {"2024-03": 1, "2024-04": 1} or _breaks(report) == {"2024-03": 2}
    assert any(sentence.startswith("2024-03: the price level breaks") for sentence in report.failures(LIMITS))
    assert not report.failures(QualityConfig(max_level_breaks_per_month=9, max_outliers_per_month=999))


def test_a_series_that_goes_on_at_another_scale_fails() -> None:
    report = assess(_scaled(bars(3000), "2024-03-12", "2030-01-01", 100.0), "EURUSD", "1h").report
    assert _breaks(report) == {"2024-03": 1}


def test_prices_of_another_pair_in_between_are_a_break_where_they_begin_and_end() -> None:
    euro, other = bars(3000), bars(3000, seed=8)
    frame = euro.to_frame().reset_index()
    rows = np.arange(500, 980)
    drift = np.linspace(1.10, 1.125, len(rows))  # the two prices move apart meanwhile
    foreign = other.to_frame()[OHLC].to_numpy()[rows]
    frame.loc[rows, OHLC] = foreign / foreign[0, 0] * float(euro.close[499]) * drift[:, None]
    judged = assess(frame, "EURUSD", "1h")
    assert sum(_breaks(judged.report).values()) == 2
    found = [one for one in incidents(Candles.from_frame(judged.clean, "EURUSD", "1h", "mid"), judged.quarantine)]
    levels = sorted((one for one in found if one.kind == "level"), key=lambda one: one.start)
    assert [one.start for one in levels] == [euro.ts_utc[500], euro.ts_utc[980]]
    assert "another pair" in levels[0].detail


def _crisis() -> Candles:
    """Minutes of a floor that breaks as that of EURCHF did in January 2015: 18 % in a minute, 27 % within minutes, part
    of it taken back in wild bars, and a lively market afterwards that stays lower."""
    calm = bars(40_000, "1m", start=np.datetime64("2015-01-01T22:00"))
    random = np.random.default_rng(3)
    size = np.full(40_000, 2e-5)
    at = 15_000
    size[at : at + 60] = 6e-3
    size[at + 60 : at + 600] = 2e-3
    size[at + 600 :] = 3e-4
    steps = random.normal(0, 1, 40_000) * size
    steps[at], steps[at + 3], steps[at + 7], steps[at + 15] = -0.2, -0.12, 0.11, 0.03
    close = 1.2 * np.exp(np.cumsum(steps))
    opened = np.r_[1.2, close[:-1]]
    width = np.abs(random.normal(0, 1, (2, 40_000))) * size
    high, low = np.maximum(opened, close) * (1 + width[0]), np.minimum(opened, close) * (1 - width[1])
    return Candles("EURCHF", calm.timeframe, "bid", calm.ts_utc, opened, high, low, close, calm.volume, calm.spread)


@pytest.mark.parametrize("bar", ["1m", "5m", "1h", "4h", "1d"])
def test_a_crisis_is_no_break(bar: str) -> None:
    candles = resample(_crisis(), bar) if bar != "1m" else _crisis()
    assert candles.close.min() / candles.close.max() < 0.88
    assert _breaks(assess(candles.to_frame().reset_index(), "EURCHF", bar).report) == {}


def _stepping(steps: dict[int, float], wild: range = range(0)) -> pd.DataFrame:
    """Hours that move by a basis point or two, by 2 % while they are `wild`, and by `steps` at single rows."""
    calm, random = bars(2000), np.random.default_rng(2)
    moves = random.normal(0, 1, 2000) * np.where(np.isin(np.arange(2000), wild), 0.0, 2e-4)
    width = np.where(np.isin(np.arange(2000), wild), 2e-2, 2e-4)
    for row, step in steps.items():
        moves[row] = step
    close = np.exp(np.cumsum(moves))
    opened = np.r_[1.0, close[:-1]]
    high, low = np.maximum(opened, close) * (1 + width), np.minimum(opened, close) * (1 - width)
    frame = calm.to_frame().reset_index()
    return frame.assign(open=opened, high=high, low=low, close=close)


def test_a_fall_that_is_taken_back_by_a_wild_market_is_none_and_out_of_the_blue_it_is_a_break() -> None:
    steps = {1000: -0.1, 1040: 0.1}
    assert sum(_breaks(assess(_stepping(steps), "EURUSD", "1h").report).values()) == 2
    assert _breaks(assess(_stepping(steps, range(1000, 1041)), "EURUSD", "1h").report) == {}


def test_two_gaps_of_different_size_are_facts() -> None:
    assert _breaks(assess(_stepping({1000: -0.06, 1400: 0.12}), "EURUSD", "1h").report) == {}
    assert _breaks(assess(_stepping({1000: 0.1, 1400: 0.1}), "EURUSD", "1h").report) == {}


def test_a_step_that_stays_is_a_fact_and_no_break() -> None:
    for factor in (0.75, 1.3, 2.0):
        frame = _scaled(bars(2000), "2024-02-11T22:00", "2030-01-01", factor)
        assert _breaks(assess(frame, "EURUSD", "1h").report) == {}


def test_years_without_data_may_move_a_price_far() -> None:
    early, late = bars(500, start=np.datetime64("2016-01-05")), bars(500, start=np.datetime64("2022-01-04"))
    frame = pd.concat([early.to_frame(), late.to_frame().assign(**{n: late.to_frame()[n] * 6 for n in OHLC})])
    assert _breaks(assess(frame.reset_index(), "USDTRY", "1h").report) == {}


def test_one_absurd_bar_fails_its_month() -> None:
    frame = bars(1000).to_frame().reset_index()
    frame.loc[300, "low"] /= 100
    assert _breaks(assess(frame, "EURUSD", "1h").report) == {"2024-01": 1}


@pytest.mark.parametrize(
    "name",
    ["m1_histdata_2017/EURUSD_1m_bid", "m5_mt4_2019_2020/GBPUSD_5m", "h1h4_mt5_2012_2020/GBPUSD_1h",
     "h1h4_mt5_2012_2020/EURJPY_1h", "h1_oanda_2007_2018/EURUSD_1h_bid"],
)  # fmt: skip
def test_real_histories_have_no_break(name: str) -> None:
    pair, bar = name.rsplit("/", 1)[1].split("_")[:2]
    assert _breaks(assess(pd.read_parquet(shared(f"{name}.parquet")), pair, bar).report) == {}


def test_a_month_of_real_pounds_among_real_euros_fails() -> None:
    euro = pd.read_parquet(shared("m5_mt4_2019_2020/EURUSD_5m.parquet"))
    pound = pd.read_parquet(shared("m5_mt4_2019_2020/GBPUSD_5m.parquet"))
    first, last = pd.Timestamp("2019-09-01", tz="UTC"), pd.Timestamp("2019-10-01", tz="UTC")
    between = (euro["ts_utc"] >= first) & (euro["ts_utc"] < last)
    pasted = pound[(pound["ts_utc"] >= first) & (pound["ts_utc"] < last)]
    frame = pd.concat([euro[~between], pasted]).sort_values("ts_utc", ignore_index=True)
    report = assess(frame, "EURUSD", "5m").report
    assert sum(_breaks(report).values()) == 2
    assert any("the price level breaks" in sentence for sentence in report.failures(LIMITS))
