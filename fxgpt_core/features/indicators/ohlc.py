"""Relative OHLC: where a bar's prices lie relative to one another (SPEC 2)."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import Columns, feature


@feature("ohlc", group="ohlc", source="SPEC 2, relative OHLC", warm_up=lambda p: 1)
def relative_ohlc(bars: Bars) -> Columns:
    """Logs of open/previous close, high/open, low/open, close/open and close/previous close."""
    gap = np.full(len(bars), np.nan)
    gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
    return {
        ("open_gap",): gap,
        ("high_open",): np.log(bars.high / bars.open),
        ("low_open",): np.log(bars.low / bars.open),
        ("close_open",): np.log(bars.close / bars.open),
        ("close_close",): bars.log_return,
    }
