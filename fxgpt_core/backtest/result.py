"""`BacktestResult`: what a strategy would have earned after costs, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.layout import PATH
from fxgpt_core.backtest.metrics import daily_returns

Status = Literal["traded", "no trades", "n/a: no direction"]


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of one backtest.

    `trades`: one row per round trip (`trades.trades_frame`); `orders`, `fills`: what was intended and what happened
    (`orders`). `known_at`, `equity`: (bars,) account value at each bar's close; `path`: (bars, 6) cash and what was
    earned and paid so far (`layout.PATH`), None from an engine that keeps none. Money is in `currency`.
    `metrics`: name -> value, None where not defined. `intervals`: their names -> (low, high) or None.
    `costs`: what was paid by kind (`swap_paid` below zero was earned) and what was charged. `refused`: entries by
    cause that the broker would not have taken.
    """

    symbol: str
    family: str
    horizon: int
    engine: str
    currency: str
    status: Status
    trades: pd.DataFrame
    orders: pd.DataFrame
    fills: pd.DataFrame
    known_at: NDArray[np.datetime64]
    equity: NDArray[np.float64]
    path: NDArray[np.float64] | None
    initial_cash: float
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None]
    costs: Mapping[str, float]
    refused: Mapping[str, int]
    rows: int
    uncalibrated: int

    @property
    def daily(self) -> NDArray[np.float64]:
        """Simple returns of the account per trading day (17:00 to 17:00 New York): (days,)."""
        return daily_returns(self.known_at, self.equity, self.initial_cash)

    def summary(self) -> dict[str, Any]:
        """Return JSON-able values without the tables."""
        return {
            "symbol": self.symbol,
            "family": self.family,
            "horizon": self.horizon,
            "engine": self.engine,
            "currency": self.currency,
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
            "refused": dict(self.refused),
        }

    def curve(self, points: int) -> dict[str, list[Any]]:
        """Return at most about `points` points of the account as JSON-able lists, the last one included.

        `times`, `equity`, and, from an engine that keeps the account's path, what was earned before costs (`gross`) and
        paid by kind (`spread`, `slippage`, `commission`) or credited (`swap`) so far.
        """
        last = len(self.equity) - 1
        rows = np.unique(np.r_[np.arange(0, last + 1, max(1, (last + 1) // points)), last])
        series = {"equity": self.equity}
        if self.path is not None:
            series |= {name: self.path[:, column] for column, name in enumerate(PATH) if name != "cash"}
        out: dict[str, list[Any]] = {"times": [str(t) for t in self.known_at[rows].astype("datetime64[s]")]}
        return out | {name: [round(float(value), 4) for value in values[rows]] for name, values in series.items()}

    def equity_frame(self) -> pd.DataFrame:
        """Return `equity` indexed by bar close (UTC-aware)."""
        index = pd.DatetimeIndex(self.known_at, name="known_at").tz_localize("UTC")
        return pd.DataFrame({"equity": self.equity}, index=index)
