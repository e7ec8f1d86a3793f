"""How much to trade: the wanted notional value of a position, before caps and lots (SPEC 11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.config import BacktestConfig

Floats = NDArray[np.float64]
_LEAST_STD = 1e-12


def wanted_fraction(
    config: BacktestConfig, side: Floats, mean: Floats, std: Floats, confidence: Floats, threshold: Floats
) -> Floats:
    """Return the notional value as a multiple of equity (of balance for `risk`): (rows,).

    `side`: 1 buy, -1 sell; `mean`, `std`: of the forecast in log returns. A mean that points the other way than `side`
    is no edge, so that `kelly` and `risk` trade nothing. `confidence`: max(P(up), P(down)); `threshold`: the
    uncertainty at which `shrink` stops, infinite where it is not known yet. All (rows,). Equations in `SizingConfig`.
    """
    sizing, spread = config.sizing, np.maximum(std, _LEAST_STD)
    edge = np.maximum(0.0, side * mean)
    if sizing.method == "inverse_volatility":
        return np.asarray(sizing.risk / spread)
    if sizing.method == "kelly":
        return np.asarray(sizing.kelly_fraction * edge / spread**2)
    if sizing.method == "risk":
        sold = np.where(side < 0, -1.0, 1.0)  # no side has a stop as well: its edge of 0 makes the size 0
        distance = np.abs(np.expm1(-sold * float(config.stop_loss or 0) * spread))
        return np.asarray(sizing.risk / distance * confidence * np.minimum(1.0, edge / spread))
    if sizing.method == "shrink":
        return np.asarray(config.size_fraction * np.maximum(0.0, 1 - spread / threshold))
    return np.full(len(std), config.size_fraction)
