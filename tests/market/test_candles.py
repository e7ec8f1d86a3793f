"""Candles hold their invariants, and equal bars give equal bits whatever memory they came in."""

import numpy as np

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

BARS = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=200, seed=1)
FIELDS = ("open", "high", "low", "close", "volume", "spread")


def test_columns_of_a_wide_array_are_laid_out_one_after_another() -> None:
    wide = np.stack([getattr(BARS, name) for name in FIELDS], axis=1)
    columns = dict(zip(FIELDS, wide.T, strict=True))
    candles = Candles("EURUSD", BARS.timeframe, "mid", np.repeat(BARS.ts_utc, 2)[::2], **columns)
    for name in ("ts_utc", *FIELDS):
        values = getattr(candles, name)
        assert values.flags["C_CONTIGUOUS"], name
        np.testing.assert_array_equal(values, getattr(BARS, name))
