"""Resampling against an independent pandas implementation, and the rule that no unfinished bar is published."""

from __future__ import annotations

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


def _by_pandas(candles: Candles, code: str) -> pd.DataFrame:
    """Group by New York wall clock moved by seven hours, so that a trading day is a calendar day."""
    frame = candles.to_frame()
    bar = timeframe(code)
    if bar.new_york_aligned:
        # Seven hours after the stamp, New York's 17:00 is midnight; no bar lies in the skipped or repeated hour.
        wall = frame.index.tz_convert("America/New_York").tz_localize(None) + pd.Timedelta(hours=7)
        group = wall.to_period("W").start_time if code == "1w" else wall.floor(f"{bar.minutes}min")
        group = (group - pd.Timedelta(hours=7)).tz_localize("America/New_York").tz_convert("UTC")
    else:
        group = frame.index.floor(f"{bar.minutes}min")
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "spread": "mean"}
    return frame.groupby(group).agg(how)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    code=st.sampled_from(["30m", "1h", "2h", "4h", "8h", "12h", "1d", "1w"]),
    start=st.sampled_from(["2024-03-05T13:15", "2024-10-30T00:00", "2023-12-28T06:30"]),
    kept=st.floats(0.5, 1.0),
)
def test_equals_an_independent_implementation_on_bars_with_gaps(seed: int, code: str, start: str, kept: float) -> None:
    fast = bars(1000, "15m", seed, np.datetime64(start))
    fast = fast.take(np.random.default_rng(seed).random(len(fast)) < kept)
    slow = resample(fast, code)
    expected = _by_pandas(fast, code)
    closes = expected.index.tz_localize(None).to_numpy() + timeframe(code).duration
    expected = expected[closes <= fast.known_at[-1]]
    np.testing.assert_array_equal(slow.ts_utc, expected.index.tz_localize(None).to_numpy())
    for name in ("open", "high", "low", "close", "volume", "spread"):
        np.testing.assert_allclose(getattr(slow, name), expected[name].to_numpy(), rtol=1e-12)


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
