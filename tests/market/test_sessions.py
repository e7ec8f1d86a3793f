"""Sessions by their own wall clocks, against `zoneinfo`, over every clock change of 2000-2035."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.market import calendar, zones
from fxgpt_core.market.sessions import SESSIONS, session_label, sessions_at

HOURS = {
    "sydney": ("Australia/Sydney", 7, 16),
    "tokyo": ("Asia/Tokyo", 9, 18),
    "london": ("Europe/London", 8, 17),
    "new_york": ("America/New_York", 8, 17),
}


def _minutes() -> st.SearchStrategy[np.datetime64]:
    """Any minute within five days of a clock change of any of the centres."""
    changes = [
        time for zone, _, _ in HOURS.values() for time in zones.offsets(zone).starts
        if np.datetime64("2000-01-01") <= time < np.datetime64("2036-01-01")
    ]  # fmt: skip
    return st.builds(
        lambda change, offset: change.astype("datetime64[ns]") + np.timedelta64(offset, "m"),
        st.sampled_from(changes),
        st.integers(-7200, 7200),
    )


def _at_work(time: np.datetime64, name: str) -> bool:
    zone, opens, closes = HOURS[name]
    utc = datetime.fromtimestamp(int(time.astype("datetime64[s]").astype(int)), UTC)
    new_york, local = utc.astimezone(ZoneInfo("America/New_York")), utc.astimezone(ZoneInfo(zone))
    minute = new_york.weekday() * 1440 + new_york.hour * 60 + new_york.minute
    trading = minute < 4 * 1440 + 1020 or minute >= 6 * 1440 + 1020
    return trading and local.weekday() < 5 and opens <= local.hour < closes


@settings(max_examples=400, deadline=None)
@given(_minutes())
def test_each_session_follows_its_own_wall_clock(time: np.datetime64) -> None:
    expected = {name: _at_work(time, name) for name in HOURS}
    assert {name: bool(flag) for name, flag in sessions_at(time).items()} == expected
    label = "+".join(name for name, flag in expected.items() if flag)
    assert str(session_label(time)) == (label or "closed")


def test_at_every_open_half_hour_of_2000_to_2035_some_centre_is_at_work() -> None:
    times = np.arange(np.datetime64("2000-01-01", "ns"), np.datetime64("2036-01-01", "ns"), np.timedelta64(30, "m"))
    np.testing.assert_array_equal(session_label(times) == "closed", ~calendar.is_open(times))


@pytest.mark.parametrize(
    ("time", "label"),
    [
        ("2024-01-03T07:59", "tokyo"),
        ("2024-01-03T08:00", "tokyo+london"),
        ("2024-07-03T07:00", "tokyo+london"),
        ("2024-07-03T09:00", "london"),
        ("2024-01-03T13:00", "london+new_york"),
        ("2024-03-12T12:00", "london+new_york"),  # New York has changed its clock, London has not
        ("2024-10-29T16:30", "london+new_york"),  # London has, New York has not
        ("2024-01-03T20:00", "sydney+new_york"),
        ("2024-07-03T21:30", "sydney"),
        ("2024-01-04T01:00", "sydney+tokyo"),
        ("2024-01-07T22:00", "sydney"),  # the week opens
        ("2024-01-05T21:00", "new_york"),  # Saturday in Sydney
        ("2024-01-06T12:00", "closed"),
    ],
)
def test_labels_of_known_moments(time: str, label: str) -> None:
    assert str(session_label(np.datetime64(time))) == label


def test_labels_keep_the_shape_and_sessions_their_order() -> None:
    times = np.full((2, 3), np.datetime64("2024-01-03T13:00"))
    assert session_label(times).shape == (2, 3)
    assert list(sessions_at(times)) == [session.name for session in SESSIONS] == list(HOURS)
