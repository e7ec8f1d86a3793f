"""Releases around each bar against plain loops; what was not scheduled around the block does not matter."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from market_helpers import shared

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.bars import Bars, Releases, Surroundings
from fxgpt_core.features.blocks import compute_table
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.events.files import IMPACTS
from fxgpt_core.market.events.releases import Events
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "15m", start=np.datetime64("2024-01-03T00:00", "ns"), bars=2600, seed=5)
WEEK = math.log1p(10_080)


def schedule(seed: int, count: int = 400) -> Releases:
    """Half of them announced at some time between a month before and an hour after, the others of old."""
    rng = np.random.default_rng(seed)
    days, quarters = rng.integers(-20, 60, count), rng.integers(0, 48, count)
    moments = np.datetime64("2024-01-03T00:00", "ns") + days * np.timedelta64(1, "D")
    times = np.sort(moments + quarters * np.timedelta64(30, "m"))
    announced = times - rng.choice([-60, 45, 600, 3000, 40_000], count) * np.timedelta64(1, "m")
    return Releases(
        times,
        rng.random(count) < 0.4,
        rng.choice(len(IMPACTS), count, p=(0.1, 0.5, 0.3, 0.1)).astype(np.int8),
        np.where(rng.random(count) < 0.5, announced, np.datetime64("NaT", "ns")),
    )


RELEASES = schedule(1)


def columns(candles: Candles, releases: Releases | None) -> dict[str, np.ndarray]:
    found = indicators()["economic_calendar"]
    return found.compute(Bars.of(candles, releases=releases), found.resolved({}))


def test_columns_follow_their_definition() -> None:
    found = columns(CANDLES, RELEASES)
    for row in range(0, len(CANDLES), 37):
        now = CANDLES.known_at[row]
        within: dict[tuple[str, int], int] = {}
        for side, base in (("base", True), ("quote", False)):
            for level, least in (("high", 3), ("medium", 2)):
                chosen = (RELEASES.of_base == base) & (RELEASES.impact >= least) & ~(RELEASES.known_at > now)
                minutes = [(t - now) / np.timedelta64(1, "m") for t in RELEASES.ts_utc[chosen]]
                ahead, behind = [m for m in minutes if m >= 0], [-m for m in minutes if m < 0]
                expected = {
                    "next": math.log1p(min([*ahead, 10_080.0])) / WEEK,
                    "last": math.log1p(min([*behind, 10_080.0])) / WEEK,
                }
                for name, value in expected.items():
                    assert found[f"cal_{side}_{level}_{name}_15m"][row] == pytest.approx(value), (row, side, name)
                for span in (60, 240, 1440):
                    within[level, base] = sum(m < span for m in ahead)
                    got = found[f"cal_{side}_{level}_count_15m_{span}"][row]
                    assert got == pytest.approx(math.log1p(within[level, base]))
                if level == "high":
                    cluster = ahead.count(min(ahead)) if ahead and min(ahead) <= 10_080 else 0
                    assert found[f"cal_{side}_high_cluster_15m"][row] == pytest.approx(math.log1p(cluster))
                    near = any(abs(m) <= 30 for m in minutes)
                    assert found[f"cal_{side}_high_near_15m"][row] == float(near)
        for level in ("high", "medium"):
            base_count, quote_count = within[level, True], within[level, False]
            asymmetry = (base_count - quote_count) / max(1, base_count + quote_count)
            assert found[f"cal_asym_{level}_15m"][row] == pytest.approx(asymmetry)


def test_without_a_calendar_the_columns_are_the_same_and_empty() -> None:
    with_releases, without = columns(CANDLES, RELEASES), columns(CANDLES, None)
    assert list(with_releases) == list(without)
    assert all(np.isfinite(values).all() for values in with_releases.values())
    assert all(np.isnan(values).all() for values in without.values())


def test_a_calendar_without_releases_says_that_nothing_is_near() -> None:
    found = columns(CANDLES.take(slice(0, 50)), RELEASES.between(*np.array(["1999-01-01", "1999-02-01"], "M8[ns]")))
    for name, values in found.items():
        expected = 1.0 if "_next_" in name or "_last_" in name else 0.0
        assert (values == expected).all(), name


def test_a_meeting_called_at_short_notice_does_not_exist_before() -> None:
    called, held = CANDLES.known_at[300] + np.timedelta64(1, "m"), CANDLES.known_at[320]
    one = Releases(np.array([held]), np.array([True]), np.array([3], dtype=np.int8), np.array([called]))
    found = columns(CANDLES, one)
    ahead = found["cal_base_high_next_15m"]
    assert (ahead[:301] == 1).all()
    assert (ahead[301:321] < 1).all()
    assert (found["cal_base_high_count_15m_1440"][:301] == 0).all()
    assert len(one.public(called)) == 1
    assert len(one.public(called - np.timedelta64(1, "m"))) == 0


def test_low_impact_releases_are_not_counted() -> None:
    low = replace(RELEASES, impact=np.minimum(RELEASES.impact, 1).astype(np.int8))
    assert (columns(CANDLES, low)["cal_base_medium_count_15m_1440"] == 0).all()


def test_a_release_more_than_a_month_away_changes_nothing() -> None:
    spec = FeatureSpec(groups=("calendar",))
    whole = compute_table(CANDLES, spec, Surroundings({}, RELEASES))
    inside = RELEASES.between(
        CANDLES.known_at[0] - np.timedelta64(8, "D"), CANDLES.known_at[-1] + np.timedelta64(8, "D")
    )
    near = compute_table(CANDLES, spec, Surroundings({}, inside))
    np.testing.assert_array_equal(near.values, whole.values)


def test_spans_shorter_than_a_bar_are_left_out() -> None:
    daily = simulate("EURUSD", "1d", start=np.datetime64("2024-01-03T00:00", "ns"), bars=30, seed=5)
    names = list(columns(daily, RELEASES))
    assert "cal_base_high_count_1d_1440" in names
    assert not [name for name in names if name.endswith(("_60", "_240")) or "_near_" in name]


def test_real_bars_move_more_at_releases() -> None:
    frame = pd.read_parquet(shared("calendar/events_2008_2020-02.parquet")).sort_values("ts_utc", kind="stable")
    moments = frame["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    name, impact = (frame[column].str.lower().to_numpy(dtype=object) for column in ("name", "impact"))
    never = np.full(len(frame), np.datetime64("NaT"), dtype="datetime64[ns]")
    events = Events(moments, name, frame["currency"].to_numpy(dtype=object), impact, never)
    bars = pd.read_parquet(shared("m5_mt4_2019_2020/EURUSD_5m.parquet"))
    candles = Candles.from_frame(bars, "EURUSD", TIMEFRAMES["5m"], "bid")
    found = columns(candles, Releases.of(events, "EURUSD"))
    following = np.abs(np.log(candles.close[1:] / candles.open[1:]))
    hour = candles.ts_utc[1:].astype("datetime64[h]").astype(np.int64) % 24
    usual = np.array([following[hour == h].mean() for h in range(24)])[hour]
    at_release = (found["cal_base_high_next_5m"][:-1] == 0) | (found["cal_quote_high_next_5m"][:-1] == 0)
    near = (found["cal_base_high_near_5m"][:-1] + found["cal_quote_high_near_5m"][:-1]) > 0
    assert at_release.sum() > 100
    assert (following / usual)[at_release].mean() > 1.8
    assert (following / usual)[near].mean() > 1.1
    assert (following / usual)[~near].mean() < 1.0
