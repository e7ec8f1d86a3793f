"""The seam between trading rules and whoever simulates the fills: `Engine`, with two implementations that must agree.

The rules, for every engine: a decision at the close of bar i is filled at the open of bar i + 1. One position at a
time. An opposite signal closes and reverses; a signal in the direction of the position restarts its clock; without one
the position is closed `hold_bars` after its last signal. Stops and targets rest in the market from the fill on; the
stop is taken first when one bar touches both. Whatever is open after the last bar is closed at its close.
The whole round-trip spread (and slippage) is paid in the entry price; the commission on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.signals import Signals

REASONS = ("holding", "reversal", "weekend", "stop", "target", "end", "ruin")


@dataclass(frozen=True)
class Rules:
    """The account: `cash` in quote currency; `spread` round trip and `commission` per side, relative to the price."""

    cash: float
    spread: float
    commission: float
    size_fraction: float
    lot_units: int
    leverage: float

    def units(self, equity: float, price: float) -> int:
        """Return the size of a new position in units of the base currency, rounded down to whole lots."""
        return int(self.size_fraction * equity / price / self.lot_units) * self.lot_units


@dataclass(frozen=True)
class Trade:
    """One round trip. Bars count from the first bar of the signals; prices and money are in quote currency.

    `decision_bar`: at whose close it was decided; `entry_bar`: at whose open it was filled; `exit_bar`: in which it
    ended, `bars` (one past the last) for a position closed after the last bar. `entry_price` contains the spread.
    `pnl` is after spread and commission.
    """

    decision_bar: int
    entry_bar: int
    exit_bar: int
    direction: int
    units: int
    entry_price: float
    exit_price: float
    commission: float
    pnl: float
    reason: str


@dataclass(frozen=True)
class Simulation:
    """`trades` in order of entry; `equity`: (bars,) at each bar's close, quote currency, open positions at mid."""

    trades: tuple[Trade, ...]
    equity: NDArray[np.float64]


class Engine(Protocol):
    """Simulates the signals under the rules of this module."""

    name: str

    def simulate(self, signals: Signals, rules: Rules) -> Simulation: ...


def bracket(signals: Signals, bar: int, direction: int) -> tuple[float | None, float | None]:
    """Return stop and target prices of a position decided at the close of `bar`, None where there are none."""
    close = float(signals.candles.close[bar])

    def level(distance: float, side: int) -> float | None:
        return None if np.isnan(distance) else close * float(np.exp(side * distance))

    return level(float(signals.stop[bar]), -direction), level(float(signals.target[bar]), direction)


def engine(name: str) -> Engine:
    """Return the engine `backtesting` (backtesting.py, AGPL-3.0) or `ledger` (own)."""
    if name == "ledger":
        from fxgpt_core.backtest.ledger import Ledger

        return Ledger()
    from fxgpt_core.backtest.backtesting_py import BacktestingPy

    return BacktestingPy()
