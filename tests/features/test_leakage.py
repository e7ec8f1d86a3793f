"""The leakage check passes what is clean and names what looks ahead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.checks.cuts import cut_points
from fxgpt_core.features.checks.leakage import check_leakage
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.calendar import week_close, week_open
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.resampling import resample
from tests.features.planted import FAULTS, clean_mean, planted, read_a_bar_early, unannounced_release

LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))
HORIZONS = (60, 240)
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1500, seed=3)
SPEC = FeatureSpec(groups=("ohlc",))


def test_the_shipped_features_do_not_leak() -> None:
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, FeatureSpec(), cuts=9, seed=1)
    assert report.passed, report.worst
    assert len(report.cuts) == 9
    assert report.columns > 120
    assert "None of" in report.sentence


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    steps = fault.plant(monkeypatch)
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=12, steps=steps)
    assert fault.names <= set(report.leaking)
    assert not fault.innocent & set(report.leaking)
    assert not report.passed
    assert any(name in report.sentence for name in report.leaking)


@pytest.mark.deep
@pytest.mark.parametrize("name", FAULTS)
def test_computing_few_months_finds_what_computing_all_history_finds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = FAULTS[name].plant(monkeypatch)
    fast, all_history = (
        check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=40, steps=steps, exhaustive=exhaustive)
        for exhaustive in (False, True)
    )
    assert fast.leaking == all_history.leaking
    found, there = ({(leak.what, leak.cut) for leak in report.leaks} for report in (fast, all_history))
    assert found <= there
    assert found == there or not FAULTS[name].local
    assert all_history.values > fast.values


def test_a_causal_indicator_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_leakage(
        CANDLES, LAYOUT, HORIZONS, SPEC, cuts=5, steps=planted(monkeypatch, "clean", clean_mean)
    ).passed


def test_a_slower_bar_read_one_base_bar_early_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    candles = simulate("EURUSD", "5m", start=np.datetime64("2024-01-03T00:00", "ns"), bars=3000, seed=3)
    layout = tuple(TIMEFRAMES[code] for code in ("5m", "4h"))
    steps = read_a_bar_early(monkeypatch)
    report = check_leakage(candles, layout, (60,), SPEC, cuts=16, steps=steps)
    assert {leak.what for leak in report.worst} == {"slower_close_5m"}
    assert "the last bar but one of a 4h bar" in {leak.cut.kind for leak in report.leaks}


def test_a_release_counted_before_its_date_was_public_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    times = CANDLES.ts_utc[0] + np.arange(1, 500) * np.timedelta64(250, "m")
    sides = np.ones(len(times), dtype=np.bool_), np.full(len(times), 3, dtype=np.int8)
    weeks_ahead = Releases(times, *sides, times - np.timedelta64(21, "D"))
    hours_ahead = Releases(times, *sides, times - np.timedelta64(3, "h"))
    spec = FeatureSpec(groups=("ohlc", "calendar"))
    assert check_leakage(CANDLES, LAYOUT, HORIZONS, spec, cuts=9, releases=hours_ahead).passed
    steps = unannounced_release(monkeypatch)
    assert check_leakage(CANDLES, LAYOUT, HORIZONS, spec, cuts=9, releases=weeks_ahead, steps=steps).passed
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, spec, cuts=9, releases=hours_ahead, steps=steps)
    assert {"to_release_1h", "to_release_4h"} <= {leak.what for leak in report.worst}


def test_a_leak_says_where_and_at_what_kind_of_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=5, steps=FAULTS["a centred mean"].plant(monkeypatch))
    assert [leak.what for leak in report.worst] == ["centred_1d", "centred_1h", "centred_4h"]  # not what follows
    leak = report.worst[1]
    assert leak.rows == 2  # a mean over two bars to come
    assert leak.first == leak.cut.moment - np.timedelta64(1, "h")
    assert leak.cut in report.cuts
    assert leak.cut.kind in leak.sentence


def test_cuts_take_turns_among_the_kinds() -> None:
    candles = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1800, seed=3)
    cuts = cut_points(candles, 11, seed=0)
    assert len({cut.moment for cut in cuts}) == 11
    kinds = {cut.kind: cut.moment for cut in cuts}
    assert {"the end of a month", "the last bar before a weekend", "a random bar", "the last bars"} <= set(kinds)
    known_at, month = candles.known_at, "datetime64[M]"
    after = {kind: known_at[np.searchsorted(known_at, moment) + 1] for kind, moment in kinds.items()}
    end = "the end of a month"
    assert after[end].astype(month) > kinds[end].astype(month)
    weekend = "the last bar before a weekend"
    assert after[weekend] - kinds[weekend] > np.timedelta64(1, "D")
    clocks = kinds["beside a clock change in New York"].astype("datetime64[D]")
    assert abs(clocks - np.datetime64("2024-03-10")) <= np.timedelta64(2, "D")
    row = int(np.searchsorted(known_at, kinds["a turning point of the price"]))
    near = slice(row - 2, row + 3)
    assert candles.high[row] == candles.high[near].max() or candles.low[row] == candles.low[near].min()
    london = kinds["beside a clock change in London"].astype("datetime64[D]")
    assert abs(london - np.datetime64("2024-03-31")) <= np.timedelta64(2, "D")


def test_slower_bars_are_cut_just_before_they_close_and_large_moves_where_they_happen() -> None:
    slower = resample(CANDLES, "4h")
    kinds = {cut.kind: cut.moment for cut in cut_points(CANDLES, 60, seed=0, slower=[slower])}
    assert kinds["the last bar but one of a 4h bar"] + np.timedelta64(1, "h") in slower.known_at
    moves = np.abs(np.diff(np.log(CANDLES.close)))
    row = int(np.searchsorted(CANDLES.known_at, kinds["a large move of the price"]))
    assert (moves[row - 1] <= moves).sum() <= 7
    week = kinds["the last bars but one of a week"]
    assert week_open(week) == week_open(week + np.timedelta64(1, "h"))
    assert week_close(week) - week <= np.timedelta64(2, "h")


def test_gaps_are_cut_on_both_sides() -> None:
    holed = CANDLES.take(np.r_[0:700, 710:1500])
    kinds = {cut.kind: cut.moment for cut in cut_points(holed, 30, seed=0)}
    assert kinds["the last bar before a holiday or gap"] == holed.known_at[699]
    assert kinds["the first bar after a holiday or gap"] == holed.known_at[700]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**31), st.integers(0, 1000))
def test_cuts_are_bars_in_order_within_bounds(count: int, seed: int, first: int) -> None:
    cuts = [cut.moment for cut in cut_points(CANDLES, count, seed, first)]
    assert len(cuts) == count
    assert cuts == sorted(set(cuts))
    rows = np.searchsorted(CANDLES.known_at, np.array(cuts))
    assert (CANDLES.known_at[rows] == cuts).all()
    assert rows.min() >= max(150, first)
    assert rows.max() < len(CANDLES) - 1
    assert cuts == [cut.moment for cut in cut_points(CANDLES, count, seed, first)]


def test_too_little_history_is_refused() -> None:
    with pytest.raises(BadInputError, match="50 bars"):
        check_leakage(CANDLES.take(slice(0, 20)), LAYOUT, HORIZONS, SPEC)


def test_a_timeframe_without_a_complete_bar_is_refused() -> None:
    monday = CANDLES.take(CANDLES.ts_utc >= week_open(CANDLES.ts_utc[300]))
    with pytest.raises(BadInputError, match="no complete bar of 1w"):
        check_leakage(monday.take(slice(0, 60)), (TIMEFRAMES["1h"], TIMEFRAMES["1w"]), HORIZONS, SPEC)
