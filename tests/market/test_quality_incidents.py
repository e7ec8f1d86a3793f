"""Incidents in words, the worst first, and coverage by day."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from market_helpers import bars

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.quality.assessment import assess
from fxgpt_core.market.quality.coverage import daily_coverage
from fxgpt_core.market.quality.incidents import Incident, incidents

START = np.datetime64("2024-01-08T00:00")


def _judged(frame: pd.DataFrame) -> list[Incident]:
    judged = assess(frame, "EURUSD", "15m")
    return incidents(Candles.from_frame(judged.clean, "EURUSD", "15m", "mid"), judged.quarantine)


def _frame(count: int = 4000) -> pd.DataFrame:
    return bars(count, "15m", start=START).to_frame().reset_index().astype({"open": object})


def _at(frame: pd.DataFrame, time: str) -> int:
    return int(np.flatnonzero(frame["ts_utc"] == pd.Timestamp(time, tz="UTC"))[0])


def test_a_clean_history_has_none() -> None:
    assert _judged(_frame()) == []


def test_each_kind_is_told_with_its_span_and_the_worst_comes_first() -> None:
    frame = _frame()
    frozen = _at(frame, "2024-01-16T09:00")
    for row in range(frozen, frozen + 20):
        frame.loc[row, ["open", "high", "low", "close"]] = frame.loc[frozen - 1, "close"]
    bad = _at(frame, "2024-01-23T10:00")
    frame.loc[bad : bad + 2, "open"] = "x"
    gap = _at(frame, "2024-01-30T06:00")
    jump = _at(frame, "2024-02-06T10:00")
    frame.loc[jump, ["open", "high", "low", "close"]] = 2.5
    found = _judged(frame.drop(index=range(gap, gap + 100)))
    told = [(item.kind, str(item.start)[:16], str(item.end)[:16], item.bars, item.detail) for item in found]
    assert told[0] == ("outlier", "2024-02-06T10:00", "2024-02-06T10:15", 1, told[0][4])
    assert told[0][4].startswith("spike of ")
    assert told[1:] == [
        ("gap", "2024-01-30T06:00", "2024-01-31T07:00", 100, "100 expected bars missing"),
        ("stale", "2024-01-16T09:00", "2024-01-16T14:00", 20, told[2][4]),
        ("gap", "2024-01-23T10:00", "2024-01-23T10:45", 3, "3 expected bars missing"),
        ("quarantined", "2024-01-23T10:00", "2024-01-23T10:45", 3, "3 rows set aside: non numeric"),
    ]
    assert json.loads(json.dumps([item.to_dict() for item in found]))[1]["start"] == "2024-01-30T06:00:00Z"


def test_a_gap_goes_on_over_a_weekend() -> None:
    frame = _frame()
    friday, monday = _at(frame, "2024-01-19T20:00"), _at(frame, "2024-01-22T02:00")
    (gap,) = _judged(frame.drop(index=range(friday, monday)))
    assert (gap.bars, str(gap.start)[:16], str(gap.end)[:16]) == (24, "2024-01-19T20:00", "2024-01-22T02:00")


def test_successive_weeks_of_another_clock_are_one_incident() -> None:
    frame = _frame()
    off = (frame["ts_utc"] > "2024-01-13") & (frame["ts_utc"] < "2024-01-27")
    frame.loc[off, "ts_utc"] -= pd.Timedelta(hours=1)
    clocks = [item for item in _judged(frame) if item.kind == "time zone"]
    assert [(str(item.start)[:10], item.detail) for item in clocks] == [
        ("2024-01-14", "2 weeks 1 h too early: stamps of another clock")
    ]


@pytest.mark.parametrize("bar", ["5m", "1h", "2h", "4h", "1d"])
def test_coverage_counts_every_day_once(bar: str) -> None:
    grid = calendar.bar_opens(np.datetime64("2023-12-18T22:00", "ns"), np.datetime64("2024-01-12T22:00", "ns"), bar)
    expected = market_hours().holds_trading(grid, bar)
    kept = grid[(np.random.default_rng(1).random(len(grid)) < 0.9) | (np.arange(len(grid)) % len(grid) == 0)]
    kept = np.unique(np.r_[kept, grid[-1]])
    found = daily_coverage(kept, bar, market_hours())
    assert (found.days[0], found.days[-1]) == (np.datetime64("2023-12-19"), np.datetime64("2024-01-12"))
    assert len(found.days) == 25
    assert found.present.sum() == len(kept)
    assert found.expected.sum() == expected.sum()
    assert found.missing.sum() == (~np.isin(grid[expected], kept)).sum()
    assert [str(day) for day in found.days[found.holiday]] == ["2023-12-25", "2024-01-01"]
    assert found.weekend.sum() == 6
    assert (found.expected[found.weekend] == 0).all()
    np.testing.assert_array_equal(np.isnan(found.share), found.weekend | found.holiday)


def test_a_bar_that_begins_before_the_week_opens_is_monday_s() -> None:
    grid = calendar.bar_opens(np.datetime64("2024-06-16T00:00", "ns"), np.datetime64("2024-06-22T00:00", "ns"), "2h")
    assert str(grid[0]) == "2024-06-16T20:00:00.000000000"  # Sunday, an hour before 17:00 New York
    found = daily_coverage(grid, "2h", market_hours())
    assert found.days[0] == np.datetime64("2024-06-17")
    assert not found.present[found.weekend].any()


def test_a_lost_day_is_not_a_holiday() -> None:
    opens = bars(24 * 15, "1h", start=START).ts_utc
    day = calendar.session_day(opens) == np.datetime64("2024-01-11")
    found = daily_coverage(opens[~day], timeframe("1h"), market_hours())
    assert [str(day) for day in found.days[found.share == 0]] == ["2024-01-11"]
    assert not found.holiday.any()


def test_coverage_needs_bars_of_at_most_a_day() -> None:
    with pytest.raises(DataError, match="at most a day"):
        daily_coverage(bars(10, "1w").ts_utc, "1w", market_hours())
    with pytest.raises(DataError, match="not 0 bars"):
        daily_coverage(np.empty(0, "datetime64[ns]"), "1h", market_hours())
