"""Clock features against hand-computed moments, clock changes among them, and against zoneinfo's wall clocks."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.sessions import SESSIONS


def bars_closing(*moments: str, code: str = "5m") -> Bars:
    frame, count = TIMEFRAMES[code], len(moments)
    known_at = np.array(moments, dtype="datetime64[ns]")
    price = np.ones(count)
    return Bars("EURUSD", frame, known_at - frame.duration, known_at, price, price, price, price, price, price)


def columns(bars: Bars, *names: str) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "time" and (not names or indicator.name in names):
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


@pytest.mark.parametrize(
    ("moment", "name", "expected"),
    [
        ("2024-01-10T08:00", "london_passed", 0.0),  # winter: London opens at 08:00 UTC
        ("2024-01-10T08:00", "london_opening", 1.0),
        ("2024-01-10T08:00", "london_to_open", 0.0),
        ("2024-01-10T12:30", "london_passed", 0.5),
        ("2024-01-10T12:30", "london_opening", math.exp(-4.5)),
        ("2024-01-10T16:00", "london_closing", math.exp(-1.0)),
        ("2024-01-10T17:00", "london_passed", 0.0),  # closed
        ("2024-01-10T17:00", "london_closing", 0.0),
        ("2024-01-10T17:00", "london_to_open", 15 / 24),
        ("2024-01-10T07:30", "london_to_open", 0.5 / 24),
        ("2024-07-10T07:00", "london_opening", 1.0),  # summer
        ("2024-01-12T17:00", "london_to_open", 1.0),  # Friday evening: Monday is more than a day away
        ("2024-01-10T13:00", "new_york_opening", 1.0),
        ("2024-07-10T12:00", "new_york_opening", 1.0),
        ("2024-01-10T00:00", "tokyo_opening", 1.0),
        ("2024-01-09T20:00", "sydney_opening", 1.0),  # summer in Sydney: 07:00 is 20:00 UTC
        ("2024-07-09T21:00", "sydney_opening", 1.0),
        ("2024-01-10T22:00", "rollover", 1.0),
        ("2024-01-10T22:15", "rollover", math.exp(-0.5)),
        ("2024-01-10T21:45", "rollover", math.exp(-0.5)),
        ("2024-07-10T15:00", "london_fix", 1.0),
        ("2024-01-10T15:30", "london_fix", math.exp(-1.0)),
        ("2024-01-07T23:00", "week_opening", math.exp(-60 / 240)),
        ("2024-01-12T20:00", "week_closing", math.exp(-120 / 240)),
        ("2024-01-10T12:00", "clock_gap", 0.0),
        ("2024-03-12T12:00", "clock_gap", -1.0),  # New York has changed its clocks, London has not
        ("2024-04-02T12:00", "clock_gap", 0.0),
        ("2024-01-31T22:00", "month_passed", 0.0),  # 17:00 New York turns the trading day
        ("2024-01-31T22:00", "month_turn", 1.0),
        ("2024-02-15T10:00", "month_passed", 14.5 / 29),
        ("2024-02-02T22:00", "month_turn", math.exp(-1.0)),
        ("2024-02-27T22:00", "month_turn", math.exp(-1.0)),
        ("2024-01-10T12:15", "minute_sin", 1.0),
        ("2024-01-10T12:30", "minute_cos", -1.0),
        ("2024-01-10T12:00", "minute_cos", 1.0),
        ("2024-01-10T13:05", "london_new_york", 1.0),
        ("2024-01-10T13:00", "london_new_york", 0.0),  # the bar's last minute lies before New York's opening
        ("2024-01-10T08:05", "tokyo_london", 1.0),
        ("2024-01-10T09:05", "tokyo_london", 0.0),
        ("2024-01-10T02:00", "sydney_tokyo", 1.0),
    ],
)
def test_moments(moment: str, name: str, expected: float) -> None:
    assert columns(bars_closing(moment))[f"{name}_5m"][0] == pytest.approx(expected, abs=1e-12)


def test_session_phases_follow_wall_clocks_through_a_year() -> None:
    hours = np.arange(
        np.datetime64("2024-01-01T00:00", "ns"), np.datetime64("2025-01-01", "ns"), np.timedelta64(7, "h")
    )
    found = columns(bars_closing(*map(str, hours), code="1h"), "session_phase")
    for session in SESSIONS:
        zone = ZoneInfo(session.zone)
        for row, moment in enumerate(hours.astype("datetime64[s]").astype(datetime)):
            local = moment.replace(tzinfo=UTC).astimezone(zone)
            hour = local.hour + local.minute / 60
            at_work = local.weekday() < 5 and session.opens <= hour < session.closes
            passed = (hour - session.opens) / (session.closes - session.opens) if at_work else 0.0
            days = next(d for d in range(5) if (local.weekday() + d) % 7 < 5 and (d > 0 or hour < session.opens))
            to_open = 0.0 if at_work else min(1.0, days + (session.opens - hour) / 24)
            assert found[f"{session.name}_passed_1h"][row] == pytest.approx(passed, abs=1e-12), moment
            assert found[f"{session.name}_to_open_1h"][row] == pytest.approx(to_open, abs=1e-12), moment


@pytest.mark.parametrize("code", ["1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d"])
def test_every_column_is_defined_bounded_and_varies(code: str) -> None:
    count = 3000 if TIMEFRAMES[code].minutes >= 60 else 300_000 // TIMEFRAMES[code].minutes // 12
    candles = simulate("EURUSD", code, start=np.datetime64("2024-02-20T00:00", "ns"), bars=count, seed=1)
    found = columns(Bars.of(candles))
    for name, values in found.items():
        assert np.isfinite(values).all(), name
        assert np.abs(values).max() <= 1.0, name
        assert values.std() > 1e-3, name


def test_minutes_are_left_out_where_they_are_always_the_same() -> None:
    assert list(columns(bars_closing("2024-01-10T12:30", code="30m"), "minute")) == ["minute_cos_30m"]
    assert not columns(bars_closing("2024-01-10T12:00", code="1h"), "minute")
