"""Resampling against an independent pandas implementation, and the rule that no unfinished bar is published."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import bars

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.resampling import resample

NEW_YORK = ZoneInfo("America/New_York")
MINUTES = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "8h": 480, "12h": 720, "1d": 1440, "1w": 7200}
"""The ten timeframes above one minute; of our own code the tests use nothing but `resample` and `Candles`."""

SUNDAYS = [
    # clock changes: US and EU in spring, EU then US in autumn; the old US rules of 2006; an ordinary week; New Year
    "2024-03-10", "2024-03-31", "2024-10-27", "2024-11-03", "2006-04-02", "2006-10-29", "2021-06-13", "2023-12-31",
]  # fmt: skip
FIELDS = ("open", "high", "low", "close", "volume", "spread")


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "ns")


def _opens_at(stamp: datetime, code: str) -> np.datetime64:
    """Return the open of the bar that holds an aware stamp, by wall clocks alone."""
    if MINUTES[code] < 240:
        minute = (stamp.hour * 60 + stamp.minute) // MINUTES[code] * MINUTES[code]
        return _utc(stamp.replace(hour=0, minute=0) + timedelta(minutes=minute))
    local = stamp.astimezone(NEW_YORK)
    evening = local.replace(hour=17, minute=0)  # same wall clock, whatever the offset of the day
    evening = evening if local.hour >= 17 else evening - timedelta(days=1)
    if code == "1w":
        return _utc(evening - timedelta(days=(evening.weekday() + 1) % 7))
    passed = (stamp - evening.astimezone(UTC)) // timedelta(minutes=MINUTES[code])
    return _utc(evening.astimezone(UTC) + passed * timedelta(minutes=MINUTES[code]))


def _minute_bars(sunday: str, seed: int, days: float = 5.0, kept: float = 1.0, gaps: int = 3) -> Candles:
    """Random one-minute bars from Sunday 17:00 New York on, over the weekend that follows if `days` > 5.

    Prices are dyadic, so that sums and extremes are exact; a fifth of volumes and spreads is unknown.
    """
    random = np.random.default_rng(seed)
    stamps = []
    for week in range(math.ceil(days / 5)):
        day = date.fromisoformat(sunday) + timedelta(days=7 * week)
        first = _utc(datetime(day.year, day.month, day.day, 17, tzinfo=NEW_YORK))
        stamps.append(first + np.arange(7200) * np.timedelta64(1, "m"))
    times = np.concatenate(stamps)[: int(days * 1440)]
    times = times[random.random(len(times)) < kept] if kept < 1 else times
    for _ in range(random.integers(0, gaps + 1) if len(times) > 3000 else 0):  # gaps of up to two days
        start, length = random.integers(0, len(times)), random.integers(1, 2880)
        times = np.delete(times, slice(start, min(start + length, len(times) - 100)))
    prices = 1 + random.integers(0, 4096, (4, len(times))) / 4096
    low, one, other, high = np.sort(prices, axis=0)
    up = random.random(len(times)) < 0.5
    volume = random.integers(0, 50, len(times)).astype(float)
    spread = random.integers(0, 64, len(times)) / 65536
    for values in (volume, spread):
        values[random.random(len(times)) < 0.2] = np.nan
    opened, close = np.where(up, one, other), np.where(up, other, one)
    return Candles("EURUSD", timeframe("1m"), "mid", times, opened, high, low, close, volume, spread)


def _by_pandas(candles: Candles, code: str) -> pd.DataFrame:
    """Group bars by the wall clock of New York and aggregate: an implementation that shares nothing with ours."""
    frame = candles.to_frame()
    group = pd.DatetimeIndex([_opens_at(stamp.to_pydatetime(), code) for stamp in frame.index], name="ts_utc")
    grouped = frame.groupby(group)
    first, last = grouped.head(1).set_index(group.unique()), grouped.tail(1).set_index(group.unique())
    return pd.DataFrame(
        {
            "open": first["open"],
            "high": grouped["high"].max(),
            "low": grouped["low"].min(),
            "close": last["close"],
            "volume": grouped["volume"].sum(min_count=1),
            "spread": grouped["spread"].mean(),
        }
    )


def _finished(expected: pd.DataFrame, code: str, until: np.datetime64) -> pd.DataFrame:
    return expected[expected.index.to_numpy() + np.timedelta64(MINUTES[code], "m") <= until]


def _same(slow: Candles, expected: pd.DataFrame) -> None:
    np.testing.assert_array_equal(slow.ts_utc, expected.index.to_numpy().astype("datetime64[ns]"))
    for name in FIELDS:
        np.testing.assert_allclose(getattr(slow, name), expected[name].to_numpy(), rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("code", MINUTES)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sunday=st.sampled_from(SUNDAYS),
    days=st.floats(0.2, 6.0),
    kept=st.sampled_from([1.0, 0.97, 0.5, 0.02]),
)
def test_one_minute_bars_become_every_slower_timeframe_as_pandas_makes_them(
    code: str, seed: int, sunday: str, days: float, kept: float
) -> None:
    fast = _minute_bars(sunday, seed, days, kept)
    if len(fast):
        _same(resample(fast, code), _finished(_by_pandas(fast, code), code, fast.known_at[-1]))


@pytest.mark.parametrize("sunday", SUNDAYS)
def test_weeks_around_clock_changes_have_every_bar_of_every_timeframe(sunday: str) -> None:
    fast = _minute_bars(sunday, 1, 10.0, gaps=0)
    assert len(fast) == 14_400
    for code, minutes in MINUTES.items():
        slow = resample(fast, code)
        _same(slow, _finished(_by_pandas(fast, code), code, fast.known_at[-1]))
        # Weeks that open at 21:00 UTC do so within a two-hour bar, and close within one, which is not over then.
        hours = fast.ts_utc[[0, 7200]].astype("datetime64[h]").astype(int) % 24
        halves = int(code == "2h" and 21 in hours)
        assert len(slow) == 14_400 // (7200 if code == "1w" else minutes) + halves


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), sunday=st.sampled_from(SUNDAYS), kept=st.sampled_from([1.0, 0.9, 0.3]))
def test_a_chain_of_timeframes_gives_what_one_step_gives(seed: int, sunday: str, kept: float) -> None:
    fast = _minute_bars(sunday, seed, 3.3, kept)
    for chain in (("5m", "1h"), ("15m", "30m", "4h", "1d"), ("5m", "2h"), ("1h", "8h"), ("30m", "12h", "1d")):
        slow = fast
        for code in chain:
            slow = resample(slow, code)
        every = resample(fast, chain[-1])
        direct = every.take(slice(0, len(slow)))
        assert len(every) - len(slow) in (0, 1)  # the last bar waits where a bar between is not over yet
        np.testing.assert_array_equal(slow.ts_utc, direct.ts_utc)
        for name in ("open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(slow, name), getattr(direct, name), err_msg=f"{name} of {chain}")


@pytest.mark.parametrize("code", MINUTES)
def test_the_last_bar_is_published_at_its_close_and_not_a_minute_before(code: str) -> None:
    fast = _minute_bars("2024-03-10", 3, 5.0, gaps=0)
    slow = resample(fast, code)
    for last in (0, len(slow) // 2, len(slow) - 1):
        close = slow.known_at[last]
        assert resample(fast.until(close), code).ts_utc[-1] == slow.ts_utc[last]
        before = resample(fast.until(close - np.timedelta64(1, "m")), code)
        assert len(before) == last
        told = resample(fast.until(close - np.timedelta64(1, "m")), code, known_until=close)
        assert told.ts_utc[-1] == slow.ts_utc[last]  # whoever knows that the time has passed may say so


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 400), code=st.sampled_from(["1h", "4h", "1d"]))
def test_what_is_published_early_never_changes_later(cut: int, code: str) -> None:
    fast = bars(400, "15m")
    early, late = resample(fast.take(slice(0, cut)), code), resample(fast, code)
    assert (early.known_at <= fast.known_at[cut - 1]).all()
    same = late.take(slice(0, len(early)))
    for name in ("ts_utc", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(early, name), getattr(same, name))


def test_a_bar_that_ends_with_the_week_is_published_with_it() -> None:
    week = bars(480, "15m", start=np.datetime64("2024-07-07T21:00"))
    assert resample(week, "1w").ts_utc[-1] == np.datetime64("2024-07-07T21:00")
    assert len(resample(week.take(slice(0, -1)), "1w")) == 0


def test_unknown_volumes_stay_unknown() -> None:
    fast = bars(8, "30m", start=np.datetime64("2024-01-03T00:00"))
    fast.volume[:] = [np.nan, np.nan, 1, np.nan, 1, 2, np.nan, np.nan]
    np.testing.assert_array_equal(resample(fast, "1h").volume, [np.nan, 1, 3, np.nan])


def test_faster_targets_and_bars_off_the_grid_are_refused() -> None:
    with pytest.raises(DataError, match="choose a slower timeframe"):
        resample(bars(10, "1h"), "1h")
    shifted = bars(10, "1h")
    odd = Candles.from_frame(shifted.to_frame().shift(30, freq="min"), "EURUSD", "1h", "mid")
    with pytest.raises(DataError, match="off the grid"):
        resample(odd, "4h")


def test_no_bars_give_no_bars() -> None:
    assert len(resample(bars(10).take(slice(0, 0)), "4h")) == 0
