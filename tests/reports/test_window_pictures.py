"""The picture of what an image forecaster looks at."""

import numpy as np

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports.window_pictures import window_pictures


def candles(bars: int) -> Candles:
    ts = np.datetime64("2021-01-04T00:00", "ns") + np.arange(bars) * np.timedelta64(300_000_000_000, "ns")
    close = 1.1 + 1e-4 * np.sin(np.arange(bars))
    return Candles(
        "EURUSD", TIMEFRAMES["5m"], "mid", ts, close, close + 1e-4, close - 1e-4, close, np.ones(bars), close * np.nan
    )


def test_a_window_is_drawn_with_its_encodings_and_what_is_kept_of_them():
    drawn = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32)).astype(np.float32)
    alone = window_pictures(candles(60), ("seg", "gaf", "rp"), drawn, "Pictures")
    both = window_pictures(candles(60), ("seg", "gaf", "rp"), drawn, "Pictures", 0.5 * drawn)
    assert alone.startswith("<svg")
    for label in ("segmentation", "Gramian angular field", "recurrence plot", "EURUSD 5m, 60 bars"):
        assert label in alone
    assert alone.count("<image") == 3
    assert both.count("<image") == 6
    assert both.count("after the autoencoder") == 3


def test_one_encoding_is_one_picture():
    assert window_pictures(candles(20), ("gaf",), np.zeros((3, 32, 32), dtype=np.float32), "x").count("<image") == 1
