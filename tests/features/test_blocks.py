"""Canonical blocks: a month alone equals the month cut from the whole; truncation changes nothing before the cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import compute_block, compute_table, months
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

SPEC = FeatureSpec()
START = np.datetime64("2024-01-03T00:00", "ns")


def bars(code: str, count: int, seed: int = 1) -> Candles:
    return simulate("EURUSD", code, start=START, bars=count, seed=seed)


@pytest.mark.parametrize(("code", "count"), [("1h", 1600), ("4h", 500), ("1d", 120)])
def test_a_month_alone_equals_the_month_cut_from_the_whole(code: str, count: int) -> None:
    candles = bars(code, count)
    whole = compute_table(candles, SPEC)
    for month, rows in months(candles):
        alone = compute_block(candles, month, SPEC)
        np.testing.assert_array_equal(alone.values, whole.values[rows])
        np.testing.assert_array_equal(alone.ts_utc, whole.ts_utc[rows])


HOURLY = bars("1h", 1800)
WHOLE = compute_table(HOURLY, SPEC)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, len(HOURLY)))
def test_cutting_the_future_off_changes_no_bit(stop: int) -> None:
    cut = compute_table(HOURLY.take(slice(0, stop)), SPEC)
    np.testing.assert_array_equal(cut.values, WHOLE.values[:stop])


def test_a_block_starts_its_warm_up_before_its_month() -> None:
    # At 512 bars nothing is left of the start, even in the last bit; what is learned from the past has its own span.
    spec = FeatureSpec(groups=("ohlc", "volatility", "oscillators", "trend"), warm_up=64)
    month, rows = list(months(HOURLY))[-1]
    whole = compute_block(HOURLY, month, spec).values
    anchored, shorter = (HOURLY.take(slice(rows.start - bars, None)) for bars in (64, 63))
    np.testing.assert_array_equal(compute_block(anchored, month, spec).values, whole)
    assert not np.array_equal(compute_block(shorter, month, spec).values, whole, equal_nan=True)


def test_a_month_is_that_of_the_close() -> None:
    candles = HOURLY.take(HOURLY.ts_utc >= np.datetime64("2024-01-31T22:00"))
    (january, first), (february, _) = list(months(candles))[:2]
    assert str(january) == "2024-01"
    assert str(february) == "2024-02"
    assert candles.ts_utc[first.stop] == np.datetime64("2024-01-31T23:00")  # closes at midnight


def test_a_month_without_bars_is_refused() -> None:
    with pytest.raises(DataError, match="2019-05"):
        compute_block(HOURLY, np.datetime64("2019-05"), SPEC)


def test_columns_are_defined_after_their_warm_up_and_named_by_timeframe() -> None:
    table = compute_table(bars("5m", 600), SPEC)
    first = 0
    for indicator, parameters in SPEC.chosen(TIMEFRAMES["5m"]):
        if indicator.reads or indicator.fit:  # undefined without releases, slower bars or earlier months: own tests
            first += len(indicator.compute(Bars.of(bars("5m", 400)), parameters))
            continue
        width = len(indicator.compute(Bars.of(bars("5m", 400)), parameters))
        block = table.values[:, first : first + width]
        defined = np.isfinite(block).all(axis=1)
        assert defined[indicator.warm_up(parameters) :].all(), indicator.name
        assert not defined[: indicator.warm_up(parameters)].any(), indicator.name
        first += width
    assert first == len(table.names)
    assert {"rsi_5m_14", "bb_h_5m_20_2.0", "atr_5m_14"} <= set(table.names)
