"""Holidays, early closes and late opens: as the file says, session by session, and what must not follow them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import shared

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.market import calendar
from fxgpt_core.market.config import MarketHoursConfig, load_market_hours, shipped_market_hours
from fxgpt_core.market.market_hours import MarketHours, easter_sunday, market_hours
from fxgpt_core.store.config import validate

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = np.timedelta64(1, "m")
RULES = [
    {"date": "12-25", "closed": "all", "weekend": "monday"},
    {"date": "01-01", "closed": "all", "weekend": "nearest"},
    {"date": "12-24", "closes": "13:00"},
    {"date": "12-26", "opens": "23:00", "since": 2010},
    {"date": "07-04", "opens": "02:30"},
    {"easter": -2, "closed": "all"},
    {"date": "2001-09-11", "closes": "09:00"},
    {"date": "02-29", "closed": "all"},
]


def _hours(*rules: dict[str, object]) -> MarketHours:
    return MarketHours(validate(MarketHoursConfig, {"rules": list(rules)}, "test"))


HOURS = _hours(*RULES)


def _easter_by_table(year: int) -> date:
    from dateutil.easter import easter

    return easter(year)


def _open_by_hand(time: np.datetime64) -> bool:
    """The rules above, spelt out by hand on wall clocks from zoneinfo."""
    local = datetime.fromtimestamp(int(time.astype("datetime64[s]").astype(int)), UTC).astimezone(NEW_YORK)
    session = (local + timedelta(hours=7)).date()
    evening = local.hour >= 17  # still the day before the session's own
    clock = local.hour * 60 + local.minute
    if session.weekday() >= 5:
        return False
    christmas, new_year = date(session.year, 12, 25), date(session.year, 1, 1)
    next_year = date(session.year + 1, 1, 1)
    if session == christmas or (session.weekday() == 0 and (session - christmas).days in (1, 2)):
        return False
    if session == new_year or (session.weekday() == 0 and (session - new_year).days == 1):
        return False
    # A New Year on Saturday is kept on the Friday before, which is a day of the old year.
    if session.weekday() == 4 and (next_year - session).days == 1:
        return False
    if session == _easter_by_table(session.year) - timedelta(days=2) or (session.month, session.day) == (2, 29):
        return False
    if (session.month, session.day) == (12, 24) and not evening and clock >= 780:
        return False
    if (session.month, session.day) == (12, 26) and session.year >= 2010 and evening and clock < 1380:
        return False
    if (session.month, session.day) == (7, 4) and (evening or clock < 150):
        return False
    return not (session == date(2001, 9, 11) and not evening and clock >= 540)


def _special() -> st.SearchStrategy[np.datetime64]:
    days = ["12-23", "12-25", "12-27", "01-01", "07-04", "03-28", "04-10", "09-11", "02-29", "03-12"]
    years = st.integers(2000, 2035)
    return st.builds(
        lambda year, day, offset: (
            np.datetime64(f"{year}-{day}" if day != "02-29" or year % 4 == 0 else f"{year}-02-28", "ns")
            + np.timedelta64(offset, "m")
        ),
        years,
        st.sampled_from(days),
        st.integers(-5 * 1440, 5 * 1440),
    )


@settings(max_examples=600, deadline=None)
@given(_special())
def test_open_hours_are_the_weekly_ones_less_the_rules(time: np.datetime64) -> None:
    weekly = bool(calendar.is_open(time))
    assert bool(HOURS.is_open(time)) == (weekly and _open_by_hand(time))


def test_sessions_of_36_years_hour_by_hour() -> None:
    times = np.arange(
        np.datetime64("2000-01-03T00:30", "ns"), np.datetime64("2036-01-01", "ns"), np.timedelta64(1, "h")
    )
    got = HOURS.is_open(times)
    near = np.flatnonzero(got != calendar.is_open(times))
    assert len(near) > 2000
    day = calendar.session_day(times[near])
    assert {str(text)[5:] for text in np.unique(day)} >= {"12-25", "12-24", "01-01", "07-04", "12-26"}
    for index in near[:: max(1, len(near) // 1500)]:
        assert not _open_by_hand(times[index])


@settings(max_examples=60, deadline=None)
@given(_special(), st.integers(1, 6 * 1440))
def test_trading_minutes_count_the_open_minutes_one_by_one(start: np.datetime64, span: int) -> None:
    minutes = np.arange(start, start + span * MINUTE, MINUTE)
    assert HOURS.trading_minutes_between(start, start + span * MINUTE) == HOURS.is_open(minutes).sum()
    assert HOURS.trading_minutes_between(start + span * MINUTE, start) == -HOURS.is_open(minutes).sum()


@pytest.mark.parametrize("code", ["5m", "1h", "2h", "4h", "8h", "1d", "1w"])
def test_expected_bars_are_those_that_hold_an_open_minute(code: str) -> None:
    start, end = np.datetime64("2015-12-19T00:00", "ns"), np.datetime64("2016-01-10T00:00", "ns")
    minutes = np.arange(start, end, MINUTE)
    wanted = np.unique(calendar.bar_open(minutes[HOURS.is_open(minutes)], code))
    wanted = wanted[(wanted >= start) & (wanted < end)]
    np.testing.assert_array_equal(HOURS.expected_opens(start, end, code), wanted)
    assert HOURS.expected_bars(start, end, code) == len(wanted)


def test_closed_days_and_early_closes_are_listed() -> None:
    hours = market_hours()
    span = np.datetime64("2015-12-01"), np.datetime64("2016-01-31")
    assert [str(day) for day in hours.closed_days(*span)] == ["2015-12-25", "2016-01-01"]
    early = [(str(item.day), str(item.closes)[:16]) for item in hours.early_closes(*span)]
    assert early == [("2015-12-24", "2015-12-24T18:00"), ("2015-12-31", "2015-12-31T18:00")]


@pytest.mark.parametrize("year", range(1970, 2101))
def test_easter(year: int) -> None:
    assert easter_sunday(year) == _easter_by_table(year)


def test_without_rules_the_week_is_all_there_is() -> None:
    times = np.arange(np.datetime64("2023-12-20", "ns"), np.datetime64("2024-01-05", "ns"), np.timedelta64(30, "m"))
    np.testing.assert_array_equal(_hours().is_open(times), calendar.is_open(times))
    assert _hours().trading_minutes_between(times[0], times[-1]) == calendar.trading_minutes_between(
        times[0], times[-1]
    )


def test_overlapping_rules_count_once() -> None:
    both = _hours({"date": "12-25", "closed": "all"}, {"date": "12-25", "opens": "02:00"})
    day = np.datetime64("2018-12-24T22:00", "ns"), np.datetime64("2018-12-25T22:00", "ns")
    assert both.trading_minutes_between(*day) == 0
    assert both.trading_minutes_between(day[0], day[1] + 60 * MINUTE) == 60


def test_targets_do_not_move_with_holidays() -> None:
    before = np.datetime64("2018-12-24T21:00", "ns")  # 16:00 New York; the 25th is shut
    assert calendar.add_trading_time(before, 120) == np.datetime64("2018-12-24T23:00")


def test_the_fingerprint_follows_the_rules_and_nothing_else() -> None:
    assert HOURS.fingerprint == _hours(*RULES).fingerprint
    assert HOURS.fingerprint != _hours(*RULES[1:]).fingerprint
    assert market_hours().fingerprint == MarketHours(shipped_market_hours()).fingerprint


def test_a_folder_without_the_file_has_the_shipped_rules(tmp_path: Path) -> None:
    assert load_market_hours(tmp_path) == shipped_market_hours()
    (tmp_path / "market_hours.yaml").write_text("rules: []\n")
    assert load_market_hours(tmp_path) == MarketHoursConfig()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{date: "13-01", closed: all}', "date '13-01' is neither"),
        ('{date: "12-25"}', "must say one of closed, closes and opens"),
        ('{date: "12-24", closes: "18:00"}', "is not before 17:00"),
        ('{date: "12-24", closes: "1 pm"}', "is no time such as"),
        ('{date: "12-24", easter: 1, closed: all}', "by either date or easter"),
        ("{closed: all}", "by either date or easter"),
        ('{date: "12-24", close: "13:00"}', "unknown key"),
        ("{date: 12-24, closes: 13:00}", "market_hours.yaml"),  # YAML reads 13:00 without quotes as a number
    ],
)
def test_a_wrong_rule_is_one_sentence_that_names_the_file(tmp_path: Path, rule: str, message: str) -> None:
    (tmp_path / "market_hours.yaml").write_text(f"rules:\n  - {rule}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_market_hours(tmp_path)
    assert "market_hours.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "bar", "shut_hours_traded", "missing_share"),
    [
        ("h1_oanda_2007_2018/EURUSD_1h_bid.parquet", "1h", 0.4, 0.004),
        ("h1h4_mt5_2012_2020/GBPUSD_1h.parquet", "1h", 0.25, 0.009),
        ("m5_mt4_2019_2020/GBPUSD_5m.parquet", "5m", 0.4, 0.002),
    ],
)
def test_the_shipped_rules_describe_real_venues(
    name: str, bar: str, shut_hours_traded: float, missing_share: float
) -> None:
    """Most of the hours that the rules close are really empty, and little else is."""
    stamps = pd.read_parquet(shared(name), columns=["ts_utc"])["ts_utc"]
    opens = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    opens = opens[calendar.is_open(opens)]
    hours = market_hours()
    grid = calendar.bar_opens(opens[0], opens[-1], bar)
    shut = grid[~hours.holds_trading(grid, bar)]
    assert np.isin(shut, opens).mean() < shut_hours_traded
    expected = hours.expected_opens(opens[0], opens[-1], bar)
    assert 1 - np.isin(expected, opens).mean() < missing_share
