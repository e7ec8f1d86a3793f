"""Which rows are set aside, for what reason, and what the report counts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import bars

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import MarketHoursConfig, QualityConfig
from fxgpt_core.market.quality.assessment import REASONS, assess, assess_stored
from fxgpt_core.market.quality.report import MONTH_COUNTS, QualityReport

START = np.datetime64("2024-01-03T00:00")


def _frame(count: int = 300, bar: str = "1h") -> pd.DataFrame:
    return bars(count, bar, start=START).to_frame().reset_index().astype({"open": object, "close": object})


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ts_utc", pd.NaT, "bad_time"),
        ("ts_utc", pd.Timestamp("1950-01-02", tz="UTC"), "bad_time"),
        ("open", "n/a", "non_numeric"),
        ("close", float("inf"), "non_numeric"),
        ("open", None, "non_numeric"),
        ("low", -1.0, "not_positive"),
        ("open", 0, "not_positive"),
        ("high", 0.5, "high_below_low"),
        ("close", 9.0, "not_enclosing"),
        ("ts_utc", pd.Timestamp("2024-01-06 12:00", tz="UTC"), "outside_market_hours"),
        ("ts_utc", pd.Timestamp("2024-01-05 22:00", tz="UTC"), "outside_market_hours"),
        ("ts_utc", pd.Timestamp("2024-01-04 12:30", tz="UTC"), "off_grid"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_no_other_row_is_touched(
    column: str, value: object, reason: str
) -> None:
    frame = _frame()
    frame.loc[17, column] = value
    judged = assess(frame, "EURUSD", "1h")
    assert judged.report.quarantined == {reason: 1}
    assert judged.quarantine[["row", "reason"]].to_numpy().tolist() == [[17, reason]]
    assert len(judged.clean) == 299
    Candles.from_frame(judged.clean, "EURUSD", "1h", "mid")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), repeats=st.integers(0, 20))
def test_any_order_gives_the_same_bars_and_every_row_is_accounted_for(seed: int, repeats: int) -> None:
    frame = _frame(100)
    extra = frame.sample(repeats, random_state=seed, replace=True)
    shuffled = pd.concat([frame, extra]).sample(frac=1, random_state=seed)
    judged = assess(shuffled, "EURUSD", "1h")
    assert judged.report.quarantined.get("duplicate", 0) == repeats
    assert len(judged.clean) + len(judged.quarantine) == len(shuffled)
    pd.testing.assert_frame_equal(judged.clean, assess(frame, "EURUSD", "1h").clean)


def test_the_last_of_several_rows_of_one_bar_wins() -> None:
    frame = _frame(50)
    corrected = frame.iloc[[3]].assign(high=2.0)
    judged = assess(pd.concat([frame, corrected], ignore_index=True), "EURUSD", "1h")
    assert judged.clean["high"][3] == 2.0
    assert judged.quarantine["row"].tolist() == [3]
    assert judged.report.unsorted == 1


def test_missing_bars_are_counted_within_market_hours_only() -> None:
    frame = _frame(300)
    judged = assess(frame.drop(index=[10, 11, 50]), "EURUSD", "1h")
    assert (judged.report.missing, judged.report.gaps, judged.report.longest_gap_bars) == (3, 2, 2)
    assert judged.report.coverage == pytest.approx(1 - 3 / 300)
    assert assess(frame, "EURUSD", "1h").report.missing == 0


@pytest.mark.parametrize("bar", ["30m", "1h", "2h"])
def test_holidays_early_closes_and_late_opens_are_not_missing(bar: str) -> None:
    candles = bars(24 * 10 * 60 // timeframe(bar).minutes, bar, start=np.datetime64("2023-12-20T00:00"))
    shut = (candles.ts_utc >= np.datetime64("2023-12-24T22:00")) & (candles.ts_utc < np.datetime64("2023-12-26T04:00"))
    report = assess(candles.take(~shut).to_frame().reset_index(), "EURUSD", bar).report
    assert shut.sum() == 30 * 60 // timeframe(bar).minutes
    assert report.missing == 0
    ordinary = QualityConfig(market_hours=MarketHoursConfig())
    assert assess(candles.take(~shut).to_frame().reset_index(), "EURUSD", bar, ordinary).report.missing == shut.sum()


def test_jumps_and_stale_runs_are_reported_and_kept() -> None:
    frame = _frame(300)
    frame.loc[100, ["open", "high", "low", "close"]] = 9.0
    morning = int(np.flatnonzero(frame["ts_utc"] == pd.Timestamp("2024-01-15 07:00", tz="UTC"))[0])
    for row in range(morning, morning + 15):
        frame.loc[row, ["open", "high", "low", "close"]] = frame.loc[morning - 1, "close"]
    report = assess(frame, "EURUSD", "1h").report
    assert (report.usable, report.outliers, report.stale_runs, report.stale_bars) == (300, 1, 1, 15)


def test_months_sum_up_to_the_totals() -> None:
    frame = _frame(2000)
    frame.loc[[3, 1500], "open"] = "x"
    frame.loc[[4, 1501, 1502], "low"] = 99.0
    frame.loc[5, "low"] = -1.0
    frame = frame.drop(index=[700])
    moved = pd.concat([frame, frame.iloc[[20, 1600]], frame.iloc[[1600]]], ignore_index=True)
    report = assess(moved, "EURUSD", "1h").report
    total = {name: sum(month[name] for month in report.months.values()) for name in MONTH_COUNTS}
    assert total == {
        "expected": report.expected, "usable": report.usable, "missing": report.missing, "duplicate": 3,
        "quarantined": 9, "not_positive": 1, "high_below_low": 3, "unsorted": report.unsorted, "stale_runs": 0,
        "stale_bars": 0, "outliers": 0, "shifted_weeks": 0,
        "odd_weeks": 0, "level_breaks": 0, "crossed": 0,
    }  # fmt: skip
    assert (report.missing, report.unsorted, report.expected) == (7, 3, 2000)
    assert report.months["2024-01"]["high_below_low"] == 1
    assert report.months["2024-03"]["high_below_low"] == report.months["2024-04"]["duplicate"] == 2


@pytest.mark.parametrize("hours", [-7, -1, 2, 5])
def test_stamps_of_another_clock_are_suspected(hours: int) -> None:
    frame = _frame(1000)
    frame["ts_utc"] += pd.Timedelta(hours=hours)
    assert assess(frame, "EURUSD", "1h").report.time_zone_suspect
    assert not assess(_frame(1000), "EURUSD", "1h").report.time_zone_suspect


def test_a_venue_that_opens_late_every_week_is_not_suspected() -> None:
    candles = bars(1000)
    first_hours = np.datetime64("2024-01-07T22:00") + np.arange(9) * np.timedelta64(7, "D")
    late = np.isin(candles.ts_utc, first_hours.astype("datetime64[ns]"))
    report = assess(candles.take(~late).to_frame().reset_index(), "EURUSD", "1h").report
    assert (report.week_edges, report.time_zone_suspect) == (0.0, False)


def test_limits_are_configuration_and_failures_say_what_exceeded_them() -> None:
    frame = _frame(300)
    report = assess(frame.drop(index=range(100, 130)), "EURUSD", "1h").report
    assert "30 of 300 market-hour bars are missing (10.0%, limit 5.0%)." in report.failures(QualityConfig())
    assert report.failures(QualityConfig(max_missing_share=0.2)) == []


def test_stored_bars_are_reported_with_the_rows_quarantined_when_they_came() -> None:
    frame = _frame(1500)
    frame.loc[range(100, 160), "open"] = "x"
    whole = assess(frame.sample(frac=1, random_state=1), "EURUSD", "1h")
    candles = Candles.from_frame(whole.clean, "EURUSD", "1h", "mid")
    unsorted = {month: count["unsorted"] for month, count in whole.report.months.items()}
    stored = assess_stored(candles, whole.quarantine, QualityConfig(), unsorted)
    assert stored == whole.report
    assert "non_numeric 60" in stored.failures(QualityConfig(max_missing_share=0.2))[0]


def test_no_usable_row_is_a_failure_not_a_crash() -> None:
    frame = _frame(5).assign(open="x")
    report = assess(frame, "EURUSD", "1h").report
    assert report.failures(QualityConfig()) == [
        "EURUSD 1h has no usable bar.",
        "100.0% of 5 rows are quarantined (limit 2.0%): non_numeric 5.",
    ]
    assert set(report.quarantined) <= set(REASONS)


def test_reports_survive_json() -> None:
    report = assess(_frame(), "EURUSD", "1h").report
    assert QualityReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@pytest.mark.parametrize(
    ("bar", "lost", "fails"), [("1d", 11, True), ("1d", 6, True), ("1d", 5, False), ("4h", 11, False)]
)
def test_a_month_of_few_bars_fails_by_its_share(bar: str, lost: int, fails: bool) -> None:
    frame = bars(1000, bar, start=np.datetime64("2020-01-01T22:00")).to_frame().reset_index()
    month = frame.index[(frame["ts_utc"] >= pd.Timestamp("2020-05-03", tz="UTC"))][:lost]
    report = assess(frame.drop(index=month), "EURUSD", bar).report
    assert any(sentence.startswith("2020-05: ") for sentence in report.failures(QualityConfig())) == fails


def test_the_ends_of_a_history_do_not_fail_for_a_few_bars() -> None:
    frame = bars(200, "1h", start=np.datetime64("2024-01-31T18:00")).to_frame().reset_index().drop(index=[1, 2])
    assert assess(frame, "EURUSD", "1h").report.failures(QualityConfig()) == []


def test_bars_with_the_ask_below_the_bid_fail_their_month_when_they_are_many() -> None:
    candles, none = (
        bars(1500),
        pd.DataFrame(columns=["ts_utc", "reason", "high", "low"]).astype({"ts_utc": "datetime64[ns, UTC]"}),
    )
    stored = assess_stored(candles, none, QualityConfig(), crossed={"2024-01": 5, "2024-02": 200})
    assert stored.months["2024-02"]["crossed"] == 200
    (failure,) = stored.failures(QualityConfig())
    assert failure.startswith("2024-02: 200 of ")
    assert "bars have their ask below the bid" in failure
