"""The clock of naive stamps: recovered from the weeks, or refused; never wrong; claims that the weeks contradict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from file_makers import put, table
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import shared

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.clocks.activity import rhythm_shift
from fxgpt_core.market.clocks.inference import contradiction, infer_clock
from fxgpt_core.market.clocks.time_zones import CANDIDATES, NAMED, UTC, Zone, parse_zone
from fxgpt_core.market.clocks.week_fit import Bars
from fxgpt_core.market.files.reading import Claims, read_file, read_files
from fxgpt_core.market.providers.simulator import simulate

HOUR = np.timedelta64(3_600_000_000_000, "ns")
NAMES = ("open", "high", "low", "close", "volume")


def market(weeks: int, start: str = "2024-01-07T22:00", code: str = "1h", seed: int = 4) -> Candles:
    count = weeks * calendar.WEEK_MINUTES // timeframe(code).minutes
    return simulate("EURUSD", code, start=np.datetime64(start), bars=count, seed=seed)


def venue(candles: Candles, late: float = 0.0, early: float = 0.0) -> Candles:
    """Leave out the first and last hours of every week."""
    since = (candles.ts_utc - calendar.week_open(candles.ts_utc)) / HOUR
    return candles.take((since >= late) & (since < 120 - early))


def stamped(candles: Candles, zone: Zone) -> Bars:
    return Bars(zone.to_local(candles.ts_utc), candles.timeframe, candles.volume, candles.high, candles.low)


def without_days(candles: Candles, zone: Zone, *weekdays: int) -> Candles:
    """Leave out days of the venue's own clock (0 is Monday)."""
    day = zone.to_local(candles.ts_utc).astype("datetime64[D]").astype(np.int64)
    return candles.take(~np.isin((day + 3) % 7, weekdays))


# Never wrong ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMED), st.integers(0, 9000))
def test_every_usual_clock_is_recovered_from_a_year(zone: Zone, first_day: int) -> None:
    # From 2007 on US and European clock changes lie weeks apart, so that a year tells every clock from every other.
    candles = market(56, str(np.datetime64("2007-06-01") + first_day))
    np.testing.assert_array_equal(
        infer_clock(stamped(candles, zone)).to_utc(zone.to_local(candles.ts_utc)), candles.ts_utc
    )


@settings(max_examples=120, deadline=None)
@given(
    zone=st.one_of(st.sampled_from(NAMED), st.sampled_from(CANDIDATES)),
    first_day=st.integers(0, 9000),
    weeks=st.sampled_from([1, 2, 3, 5, 8, 13, 26, 52]),
    late=st.sampled_from([0, 0, 0.25, 1, 2]),
    early=st.sampled_from([0, 0, 0.25, 1, 2]),
    no_weekend=st.booleans(),
    holes=st.sampled_from([0, 0.05]),
)
def test_whatever_the_venue_leaves_out_the_clock_is_right_or_refused(
    zone: Zone, first_day: int, weeks: int, late: float, early: float, no_weekend: bool, holes: float
) -> None:
    code = "15m" if weeks <= 13 else "1h"
    candles = venue(market(weeks, str(np.datetime64("2001-01-01") + first_day), code), late, early)
    if no_weekend:
        candles = without_days(candles, zone, 5, 6)
    candles = candles.take(np.random.default_rng(first_day).random(len(candles)) >= holes)
    try:
        clock = infer_clock(stamped(candles, zone))
    except BadInputError:
        return
    np.testing.assert_array_equal(clock.to_utc(zone.to_local(candles.ts_utc)), candles.ts_utc)


# Venues that open late or close early --------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "early"), [(0.25, 0), (0, 0.25), (1, 0), (2, 0), (0, 1)])
@pytest.mark.parametrize("name", ["UTC", "America/New_York", "New York+7", "Europe/Berlin"])
def test_one_edge_and_the_rhythm_of_the_day_tell_the_clock(late: float, early: float, name: str) -> None:
    zone, candles = parse_zone(name), venue(market(52, code="15m"), late, early)
    clock = infer_clock(stamped(candles, zone))
    np.testing.assert_array_equal(clock.to_utc(zone.to_local(candles.ts_utc)), candles.ts_utc)
    assert ("rhythm" in clock.how) == (late >= 1 or early >= 1)


def test_a_daily_pause_at_the_rollover_tells_the_hour_in_a_few_weeks() -> None:
    zone = parse_zone("New York+7")
    candles = market(6, code="5m")
    candles = venue(candles, late=1)
    minute = (calendar.hour_of_week(candles.ts_utc) % 24 == 0) & (
        (candles.ts_utc.astype("datetime64[m]").astype(np.int64) % 60) < 10
    )
    clock = infer_clock(stamped(candles.take(~minute), zone))
    assert "the daily pause falls on 17:00 New York" in clock.how
    np.testing.assert_array_equal(clock.to_utc(zone.to_local(candles.ts_utc)), candles.ts_utc)


def test_without_a_witness_a_late_venue_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"unclear.*say it with --tz"):
        infer_clock(stamped(venue(market(6), late=1), UTC))


def test_a_broker_that_leaves_out_its_sunday_is_told_from_one_by_new_york() -> None:
    athens = parse_zone("Europe/Athens")
    candles = without_days(market(52), athens, 6)  # in the weeks between the clock changes the week opens on its Sunday
    clock = infer_clock(stamped(candles, athens))
    assert clock.name == "Europe/Athens"
    assert "New York+7 would be wrong in" in clock.how


# Clocks that change --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"), [("Europe/Berlin", "Europe/Athens"), ("UTC", "New York+7"), ("EST", "UTC")]
)
def test_a_clock_that_changes_between_two_weeks_is_converted_piece_by_piece(before: str, after: str) -> None:
    candles, old, new = market(60), parse_zone(before), parse_zone(after)
    change = calendar.week_open(candles.ts_utc[0]) + np.timedelta64(20 * 7, "D")
    local = np.where(candles.ts_utc < change - 2 * HOUR, old.to_local(candles.ts_utc), new.to_local(candles.ts_utc))
    clock = infer_clock(Bars(local, candles.timeframe))
    assert [zone.name for _, zone in clock.pieces] == [before, after]
    np.testing.assert_array_equal(clock.to_utc(local), candles.ts_utc)
    assert clock.warnings == (f"The clock changes on {str(new.to_local(change[None])[0])[:10]} to {after}.",)


def test_a_change_that_is_not_clear_is_refused_with_its_day() -> None:
    candles, old, new = market(30), parse_zone("UTC"), parse_zone("New York+7")
    change = calendar.week_open(candles.ts_utc[0]) + np.timedelta64(27 * 7, "D")
    local = np.where(candles.ts_utc < change - 2 * HOUR, old.to_local(candles.ts_utc), new.to_local(candles.ts_utc))
    with pytest.raises(BadInputError, match=r"2024-07-1\d.*import the parts on their own, or say it with --tz"):
        infer_clock(Bars(local, candles.timeframe))


def test_weeks_an_hour_off_are_not_swallowed_by_a_majority() -> None:
    candles = market(52)
    inside = (candles.ts_utc >= np.datetime64("2024-06-01")) & (candles.ts_utc < np.datetime64("2024-06-15"))
    local = candles.ts_utc + inside * HOUR
    with pytest.raises(BadInputError, match=r"2 of 52, the first about 2024-06-0\d"):
        infer_clock(Bars(local, candles.timeframe))


def test_real_broker_hours_change_from_berlin_to_athens() -> None:
    frame = pd.read_parquet(shared("h1h4_mt5_2012_2020/GBPUSD_1h.parquet"))
    utc = frame["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    old, new = parse_zone("Europe/Berlin"), parse_zone("Europe/Athens")
    local = np.where(utc < np.datetime64("2014-11-22"), old.to_local(utc), new.to_local(utc))
    values = [frame[name].to_numpy(dtype=np.float64) for name in ("volume", "high", "low")]
    clock = infer_clock(Bars(local, timeframe("1h"), *values))
    assert clock.name == "Europe/Berlin, from 2014-11-24 Europe/Athens"
    np.testing.assert_array_equal(clock.to_utc(local), utc)


@pytest.mark.deep
@pytest.mark.parametrize("folder", ["h1h4_mt5_2012_2020", "h1_oanda_2007_2018", "m5_mt4_2019_2020", "m1_fxcm_2012"])
def test_the_rhythm_of_real_markets_is_never_read_an_hour_off(folder: str) -> None:
    for path in sorted(shared(folder).glob("*.parquet")):
        if "_4h" in path.name:
            continue
        frame = pd.read_parquet(path)
        utc = frame["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        code = path.stem.split("_")[1]
        bars = Bars(utc, timeframe(code), None, frame["high"].to_numpy(), frame["low"].to_numpy())
        quarter = 90 * 1440 // timeframe(code).minutes * 5 // 7
        for start in range(0, len(utc) - quarter, quarter):
            assert rhythm_shift(bars.between(start, start + quarter), UTC) in (0, None), (path.name, str(utc[start]))


# Claims --------------------------------------------------------------------------------------------------------------


def test_a_claim_an_hour_wrong_for_part_of_the_year_is_told_with_its_weeks() -> None:
    athens = stamped(market(52), parse_zone("Europe/Athens"))
    against = contradiction(athens, parse_zone("New York+7"))
    assert against.startswith(
        "read as New York+7, 4 of 52 weeks open or close at the wrong hour, the first about 2024-03"
    )
    assert "the stamps fit Europe/Athens" in against
    assert contradiction(athens, parse_zone("Europe/Athens")) == ""


def test_a_given_clock_and_a_named_one_are_checked_and_followed(tmp_path: Path) -> None:
    candles = market(14)
    text = table(candles, NAMES, "%Y-%m-%d %H:%M", parse_zone("New York+7")).to_csv(index=False)
    raw = read_file(put(tmp_path, "EURUSD.csv", text), tz="UTC")
    assert (raw.time_zone, raw.time_zone_how) == ("UTC", "as given")
    assert raw.warnings[0].startswith("--tz says UTC, but read as UTC, 13 of 14 weeks")
    named = read_file(put(tmp_path, "EURUSD_2.csv", text.replace("time,", "time_utc,", 1)))
    assert named.time_zone_how == "the name of the time column 'time_utc' says so"
    assert "the stamps fit New York+7" in named.warnings[0]


def test_files_of_one_series_share_what_their_weeks_show(tmp_path: Path) -> None:
    zone = parse_zone("Europe/Athens")
    candles = market(26, "2024-01-07T22:00")
    paths = []
    for month in range(1, 7):
        inside = candles.ts_utc.astype("datetime64[M]") == np.datetime64(f"2024-{month:02d}")
        text = table(candles.take(inside), NAMES, "%Y.%m.%d %H:%M", zone).to_csv(index=False)
        paths.append(put(tmp_path, f"EURUSD_2024_{month:02d}.csv", text))
    short = candles.take(candles.ts_utc < candles.ts_utc[0] + 24 * HOUR)
    paths.append(put(tmp_path, "EURUSD_day.csv", table(short, NAMES, "%Y.%m.%d %H:%M", zone).to_csv(index=False)))
    found = read_files(paths, Claims())
    assert not found.failed
    assert {raw.time_zone for raw in found.bars} == {"Europe/Athens"}
    assert all("inferred from 7 files together" in raw.time_zone_how for raw in found.bars)
    np.testing.assert_array_equal(found.bars[-1].frame["ts_utc"].dt.tz_localize(None).to_numpy(), short.ts_utc)
    alone = read_files(paths[-1:], Claims())
    assert "without a weekend" in str(alone.failed[0][1])


def test_four_hour_stamps_are_not_inferred(tmp_path: Path) -> None:
    candles = market(20, code="4h")
    path = put(tmp_path, "EURUSD.csv", table(candles, NAMES, "%Y-%m-%d %H:%M").to_csv(index=False))
    with pytest.raises(BadInputError, match="time zone of 4h stamps cannot be inferred"):
        read_file(path)


@pytest.mark.parametrize("hours", [1, -1])
def test_one_week_that_contradicts_a_claim_is_named(tmp_path: Path, hours: int) -> None:
    candles = market(26)
    opened = np.datetime64("2024-05-05T21:00")
    off = (candles.ts_utc >= opened) & (candles.ts_utc < opened + 7 * 24 * HOUR)
    stamps = candles.ts_utc + np.where(off, hours, 0) * HOUR
    against = contradiction(Bars(stamps, candles.timeframe), UTC)
    assert f"wrong hour: that of 2024-05-05 ({hours:+d} h)" in against
    assert contradiction(Bars(candles.ts_utc, candles.timeframe), UTC) == ""


def test_a_venue_with_one_late_week_does_not_contradict_its_claim() -> None:
    candles = market(26)
    opened = np.datetime64("2024-05-05T21:00")
    lost = (candles.ts_utc >= opened) & (candles.ts_utc < opened + 2 * HOUR)
    assert contradiction(Bars(candles.ts_utc[~lost], candles.timeframe), UTC) == ""
