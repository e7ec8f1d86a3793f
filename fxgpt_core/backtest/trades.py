"""The table of trades that a simulation leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.engine import Simulation

TRADE_COLUMNS = (
    "symbol", "decided_at", "entry_time", "exit_time", "direction", "units", "lots", "open_price", "entry_price",
    "exit_price", "stop", "target", "gross_pnl", "spread_cost", "slippage_cost", "commission", "swap", "pnl", "return",
    "bars_held", "confidence", "strength", "reason",
    "signal_price", "entry_mid", "entry_rate", "entry_spread", "entry_slippage", "entry_commission",
    "exit_decided_at", "exit_signal_price", "exit_mid", "exit_rate", "exit_spread", "exit_slippage", "exit_commission",
)  # fmt: skip
_TIMES = ("decided_at", "entry_time", "exit_time", "exit_decided_at")


def trades_frame(simulation: Simulation, book: Book) -> pd.DataFrame:
    """Return the trades in order of entry: `TRADE_COLUMNS`, one row each.

    Times are UTC-aware. Prices are in quote currency, money is in the account's: `gross_pnl` - `spread_cost` -
    `slippage_cost` - `commission` + `swap` = `pnl`. `open_price`, `entry_mid`: the mid at the fill; `entry_price`,
    `exit_price`: what was paid and got; `return`: P&L over the value bought or sold. `signal_price`,
    `exit_signal_price`: the mid close that a decision saw, or the level of the stop or target that was touched;
    `entry_rate`, `exit_rate`: account currency per unit of quote currency.
    """
    trades = np.sort(simulation.trades, order=["entry_bar", "leg"], kind="stable")
    opens = np.r_[book.times, book.closes[-1:]]  # an exit after the last bar happens at its close
    decision, entry, leave = (trades[name] for name in ("decision_bar", "entry_bar", "exit_bar"))
    at_market, before = np.isnan(trades["level"]), np.maximum(leave - 1, 0)
    # Stops and targets were decided with the entry; a position that ends with the data closes at a close.
    decided = np.where(at_market, before, decision)
    broker = trades["reason"] == layout.STOPPED_OUT  # which decides at the price at which it closes
    seen = np.where(at_market, book.bars["close"][before, trades["leg"]], trades["level"])
    lots = np.array([part.pair.contract_size for part in book.parts])[trades["leg"]]
    symbols = np.array([part.pair.symbol for part in book.parts], dtype=object)[trades["leg"]]
    fee = trades["units"] * book.legs["commission"][trades["leg"]]
    values: dict[str, Any] = {
        "symbol": symbols,
        "decided_at": book.closes[decision],
        "entry_time": book.times[entry],
        "exit_time": opens[leave],
        "lots": trades["units"] / lots,
        "open_price": trades["entry_mid"],
        "gross_pnl": trades["gross"],
        "spread_cost": trades["spread"],
        "slippage_cost": trades["slippage"],
        "return": trades["pnl"] / (trades["units"] * trades["entry_mid"] * trades["entry_rate"]),
        "bars_held": leave - entry,
        "confidence": _of_decision(book, trades, "confidence"),
        "strength": _of_decision(book, trades, "strength"),
        "reason": np.array(layout.REASONS, dtype=object)[trades["reason"]],
        "signal_price": book.bars["close"][decision, trades["leg"]],
        "exit_decided_at": np.where(broker, opens[leave], book.closes[decided]),
        "exit_signal_price": np.where(broker, trades["exit_mid"], seen),
    }
    for end in ("entry", "exit"):
        scale = trades["units"] * trades["exit_rate"]  # both halves of the spread are realised with the position
        values[f"{end}_spread"] = trades[f"{end}_half"] * scale
        values[f"{end}_slippage"] = trades[f"{end}_slip"] * scale
        values[f"{end}_commission"] = fee * trades[f"{end}_mid"] * trades[f"{end}_rate"]
    frame = pd.DataFrame({name: values[name] if name in values else trades[name] for name in TRADE_COLUMNS})
    for name in _TIMES:
        frame[name] = pd.DatetimeIndex(frame[name]).tz_localize("UTC")
    return frame


def _of_decision(book: Book, trades: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return what the signals said when each trade was decided: (trades,)."""
    out = np.full(len(trades), np.nan)
    for number, part in enumerate(book.parts):
        mine = trades["leg"] == number
        row = np.searchsorted(part.signals.candles.ts_utc, book.times[trades["decision_bar"][mine]])
        out[mine] = getattr(part.signals, name)[row]
    return out
