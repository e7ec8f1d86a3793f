"""`BacktestResult`: what a strategy would have earned after costs, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Status = Literal["traded", "no trades", "n/a: no direction"]

TRADE_COLUMNS = (
    "decided_at", "entry_time", "exit_time", "direction", "units", "open_price", "entry_price", "exit_price",
    "gross_pnl", "spread_cost", "commission", "pnl", "return", "bars_held", "confidence", "strength", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of one backtest.

    `trades`: one row per round trip with `TRADE_COLUMNS`, times UTC-aware, prices and money in quote currency;
    `open_price` is the mid at the fill, `gross_pnl` what it earned without costs, `return` the P&L over notional.
    `known_at`, `equity`: (bars,) account value at each bar's close. `metrics`: name -> value, None where not defined.
    `intervals`: `return` and `sharpe` -> (low, high) or None. `costs`: what was paid and what was charged.
    """

    symbol: str
    family: str
    horizon: int
    engine: str
    status: Status
    trades: pd.DataFrame
    known_at: NDArray[np.datetime64]
    equity: NDArray[np.float64]
    initial_cash: float
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None]
    costs: Mapping[str, float]
    rows: int
    uncalibrated: int

    def summary(self) -> dict[str, Any]:
        """Return JSON-able values without the tables."""
        return {
            "symbol": self.symbol,
            "family": self.family,
            "horizon": self.horizon,
            "engine": self.engine,
            "status": self.status,
            "start": str(self.known_at[0]),
            "end": str(self.known_at[-1]),
            "bars": len(self.equity),
            "forecasts": self.rows,
            "uncalibrated": self.uncalibrated,
            "initial_cash": self.initial_cash,
            "metrics": dict(self.metrics),
            "intervals": {name: None if value is None else list(value) for name, value in self.intervals.items()},
            "costs": dict(self.costs),
        }

    def equity_frame(self) -> pd.DataFrame:
        """Return `equity` indexed by bar close (UTC-aware)."""
        index = pd.DatetimeIndex(self.known_at, name="known_at").tz_localize("UTC")
        return pd.DataFrame({"equity": self.equity}, index=index)
