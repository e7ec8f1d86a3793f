"""The FX calendar against wall clocks from `zoneinfo`, over every clock change of 2000-2035."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import TIMEFRAMES, timeframe
from fxgpt_core.market import calendar, zones

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = np.timedelta64(1, "m")
LONG = [bar for bar in TIMEFRAMES.values() if bar.new_york_aligned and bar.code != "1w"]


def _changes(zone: str) -> list[np.datetime64]:
    starts = zones.offsets(zone).starts
    return [t for t in starts if np.datetime64("2000-01-01") <= t < np.datetime64("2036-01-01")]


def _minutes_near_changes() -> st.SearchStrategy[np.datetime64]:
    """Any minute within four days of a clock change in New York or London."""
    changes = _changes("America/New_York") + _changes("Europe/London")
    return st.builds(
        lambda change, offset: change.astype("datetime64[ns]") + offset * MINUTE,
        st.sampled_from(changes),
        st.integers(-5760, 5760),
    )


def _local(time: np.datetime64, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.fromtimestamp(int(time.astype("datetime64[s]").astype(int)), UTC).astimezone(zone)


def _open_by_wall_clock(time: np.datetime64) -> bool:
    local = _local(time)
    day, minute = local.weekday(), local.hour * 60 + local.minute
    return day < 4 or (day == 4 and minute < 1020) or (day == 6 and minute >= 1020)


def test_new_york_changes_its_clock_twice_a_year_from_2000_to_2035() -> None:
    assert len(_changes("America/New_York")) == 72


@settings(max_examples=300, deadline=None)
@given(_minutes_near_changes())
def test_open_hours_follow_the_new_york_wall_clock(time: np.datetime64) -> None:
    assert bool(calendar.is_open(time)) == _open_by_wall_clock(time)


@settings(max_examples=200, deadline=None)
@given(_minutes_near_changes(), st.sampled_from(["America/New_York", "Europe/London", "Europe/Athens"]))
def test_local_time_agrees_with_zoneinfo_and_comes_back(time: np.datetime64, zone: str) -> None:
    expected = _local(time, ZoneInfo(zone)).replace(tzinfo=None)
    local = zones.to_local(np.array([time]), zone)
    assert local[0] == np.datetime64(expected, "ns")
    again = zones.to_utc(local, zone)[0]
    assert again in (time, time - np.timedelta64(1, "h"))  # an hour that happens twice is its first pass
    assert zones.to_local(np.array([again]), zone)[0] == local[0]


def test_every_week_is_120_hours_and_opens_at_17_00_in_new_york() -> None:
    opens = calendar.week_opens()
    opens = opens[(opens > np.datetime64("2000-01-01")) & (opens < np.datetime64("2036-01-01"))]
    for time in opens:
        local, closing = _local(time), _local(calendar.week_close(time))
        assert (local.weekday(), local.hour, local.minute) == (6, 17, 0)
        assert (closing.weekday(), closing.hour, closing.minute) == (4, 17, 0)


@settings(max_examples=200, deadline=None)
@given(_minutes_near_changes(), st.sampled_from(LONG))
def test_long_bars_start_at_multiples_from_17_00_new_york(time: np.datetime64, bar: object) -> None:
    if not calendar.is_open(time):
        return
    frame = timeframe(bar)  # type: ignore[arg-type]
    opened = calendar.bar_open(time, frame)
    local = _local(opened)
    assert (local.hour * 60 + local.minute - 1020) % min(frame.minutes, 1440) == 0
    assert opened <= time < opened + frame.duration
    assert calendar.bar_open(opened, frame) == opened


@given(_minutes_near_changes(), st.sampled_from(["1m", "5m", "15m", "30m", "1h", "2h"]))
@settings(max_examples=100, deadline=None)
def test_short_bars_start_at_multiples_from_utc_midnight(time: np.datetime64, code: str) -> None:
    length = timeframe(code).minutes * MINUTE
    opened = calendar.bar_open(time, code)
    assert (opened - opened.astype("datetime64[D]")) % length == 0 * MINUTE
    assert opened <= time < opened + length


@settings(max_examples=300, deadline=None)
@given(_minutes_near_changes(), st.integers(1, 20_000))
@example(np.datetime64("2024-03-08T21:30", "ns"), 60)
@example(np.datetime64("2024-03-08T21:00", "ns"), 60)
def test_adding_trading_time_inverts_measuring_it(time: np.datetime64, minutes: int) -> None:
    later = calendar.add_trading_time(time, minutes)
    assert calendar.trading_minutes_between(time, later) == minutes
    assert calendar.trading_minutes_between(time, later - MINUTE) == minutes - 1  # the earliest such instant
    back = calendar.add_trading_time(later, -minutes)
    assert calendar.trading_minutes_between(back, time) == 0


def test_a_horizon_that_crosses_the_weekend_stands_still_while_the_market_is_closed() -> None:
    friday = np.datetime64("2024-03-08T21:30", "ns")  # 16:30 in New York, clocks change on Sunday
    assert calendar.add_trading_time(friday, 60) == np.datetime64("2024-03-10T21:30")  # 17:30, one hour nearer UTC
    assert calendar.add_trading_time(friday, 30) == np.datetime64("2024-03-08T22:00")  # ends with the week
    assert calendar.add_trading_time(np.datetime64("2024-03-09T12:00"), 30) == np.datetime64("2024-03-10T21:30")
    assert calendar.trading_minutes_between(friday, np.datetime64("2024-03-10T21:00")) == 30


@settings(max_examples=100, deadline=None)
@given(_minutes_near_changes(), _minutes_near_changes())
def test_trading_minutes_count_the_open_minutes_one_by_one(start: np.datetime64, end: np.datetime64) -> None:
    end = start + (end - start) % np.timedelta64(4, "D")
    minutes = np.arange(start, end, MINUTE)
    assert calendar.trading_minutes_between(start, end) == calendar.is_open(minutes).sum()


@pytest.mark.parametrize("code", ["5m", "1h", "2h", "4h", "1d", "1w"])
def test_the_bar_grid_is_every_distinct_bar_that_holds_an_open_minute(code: str) -> None:
    start, end = np.datetime64("2024-03-03T00:00", "ns"), np.datetime64("2024-04-07T00:00", "ns")
    minutes = np.arange(start, end, MINUTE)
    minutes = minutes[calendar.is_open(minutes)]
    expected = np.unique(calendar.bar_open(minutes, code))
    got = calendar.bar_opens(start, end, code)
    np.testing.assert_array_equal(got, expected[(expected >= start) & (expected < end)])


def test_a_session_is_named_by_the_new_york_day_on_which_it_closes() -> None:
    at = {
        "2024-03-10T21:00": "2024-03-11",  # Sunday 17:00, the day of the clock change
        "2024-03-08T21:59": "2024-03-08",
        "2024-07-02T20:59": "2024-07-02",
        "2024-07-02T21:00": "2024-07-03",
    }
    assert [str(day) for day in calendar.session_day(list(at))] == list(at.values())


def test_every_week_edge_of_2000_to_2035_is_where_the_wall_clock_says() -> None:
    """Exhaustive: the last closed and first open minute of each Sunday, the reverse of each Friday, by zoneinfo."""
    edges = []
    for week in range(36 * 53):
        for weekday, opens in ((6, True), (4, False)):
            day = date(2000, 1, 2) + timedelta(days=7 * week + (weekday - 6))
            if day.year > 2035:
                continue
            edge = datetime(day.year, day.month, day.day, 17, tzinfo=NEW_YORK).astimezone(UTC).replace(tzinfo=None)
            edges.append((np.datetime64(edge, "ns"), opens))
    times = np.array([edge for edge, _ in edges])
    opens = np.array([kind for _, kind in edges])
    assert len(times) > 3700
    np.testing.assert_array_equal(calendar.is_open(times), opens)
    np.testing.assert_array_equal(calendar.is_open(times - np.timedelta64(1, "ns")), ~opens)
    np.testing.assert_array_equal(calendar.minutes_to_week_close(times[opens]), 7200)
    np.testing.assert_array_equal(calendar.minutes_to_week_close(times[~opens] - MINUTE), 1)


def test_hours_of_the_week_count_from_its_open_and_minutes_to_its_close() -> None:
    opened = np.datetime64("2024-07-07T21:00", "ns")
    hours = opened + np.arange(120) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(calendar.hour_of_week(hours), np.arange(120))
    np.testing.assert_array_equal(calendar.minutes_to_week_close(hours), 7200 - 60 * np.arange(120))
    assert calendar.minutes_to_week_close(opened - np.timedelta64(1, "h")) == 0


def test_times_outside_the_calendar_are_refused() -> None:
    with pytest.raises(DataError, match="1970-2100"):
        calendar.is_open(np.datetime64("2150-01-01"))
