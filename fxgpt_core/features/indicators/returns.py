"""Past returns: single lags, and sums over windows in units of their own volatility."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.parameters import periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_sum


@feature(
    "lagged_return",
    group="returns",
    source="log return of an earlier bar",
    warm_up=lambda p: max(p["lags"]) + 1,
    lags=periods(1, 2, 3, low=1, high=500),
)
def lagged_return(bars: Bars, lags: tuple[int, ...]) -> Columns:
    """Log return of the bar `lag` bars ago."""
    out = {}
    for lag in lags:
        values = np.full(len(bars), np.nan)
        values[lag:] = bars.log_return[: len(bars) - lag]
        out[("ret_lag", lag)] = values
    return out


@feature(
    "momentum",
    group="returns",
    source="sum of log returns / root of their sum of squares (a t statistic of the drift)",
    warm_up=lambda p: max(p["windows"]),
    windows=periods(6, 24, 120, low=1),
)
def momentum(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Return over the window divided by the root of its summed squared returns; 0 where nothing moved."""
    returns = bars.log_return
    out = {}
    for window in windows:
        total, energy = rolling_sum(returns, window), rolling_sum(returns * returns, window)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[("mom", window)] = np.where(energy == 0.0, 0.0, total / np.sqrt(energy))
    return out
