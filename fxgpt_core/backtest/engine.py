"""The seam between trading rules and whoever simulates the fills: `Engine`, with two implementations that must agree.

The rules, for every engine:

- A decision at the close of bar i is filled at the open of the pair's bar i + 1. One position a pair at a time.
- An opposite signal closes and reverses (unless `exit_on_opposite` is off); a signal in the direction of the position
  restarts its clock; without one it is closed `hold_bars` after its last signal, and after `longest` bars in any case.
  Before the weekend it is closed at the last open that lies `weekend_lead_minutes` or more before the market hours end
  the week. Exits are filled before entries.
- An entry is cancelled whose bar opens more than `entry_gap_minutes` after the decision, or within that lead.
- Bars are mid. A market order buys at mid + half the spread + slippage and sells at mid - half the spread - slippage.
  Stop and target are order prices on the side that closes the position: a long one is closed when the bid (mid - half
  the spread) touches them, a short one when the ask does. A bar that opens beyond the level fills at its open; stops
  slip as market orders do, targets do not. They rest in the market from the fill on, its own bar included; the stop is
  taken first when one bar touches both.
- A trailing stop moves at closes only, by the best mid price of the bar that has closed, and holds from the next bar
  on; how a bar got from its low to its high is not known.
- Nights are charged at the first open at or after 17:00 New York to positions that came into that bar. An entry at that
  very open pays nothing, an exit there does.
- Where equity at an open, with positions at its mid prices, is below `stop_out` of the margin that they use (value over
  leverage), the broker closes them there at market, the largest loss first, until it is not: after the exits ordered
  for that open, before its entries. A pair without a bar there cannot be closed. Inside bars nothing is judged.
- Profit, spread and slippage are converted at the rate of the exit, commission at each fill's, swap at its night's.
- New positions are rounded down to the lot and may use `margin_use` of the leverage at the decision; an entry that at
  its fill needs more than all of it is refused. Equity below zero at a close ends everything.
- A portfolio's entries are cut to what its limits leave (`limits.PortfolioLimits`), or refused.
- Whatever is open after a pair's last bar is closed at its close.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Simulation:
    """`trades`: (trades,) of `layout.TRADE` in order of exit; `equity`: (bars,) at each close, open positions at mid.

    `path`: (bars, 6) columns `layout.PATH`, or None from an engine that keeps none. `refused`, `too_small`: entries
    that did not fit the margin at their fill, or were below the broker's smallest order; `late`: cancelled because the
    bar of their fill opened too late. `limited`: (entries,) of `layout.LIMITED`, those and what limits cut or refused;
    none from an engine that counts them only.
    """

    trades: NDArray[Any]
    equity: Floats
    path: Floats | None = None
    refused: int = 0
    too_small: int = 0
    late: int = 0
    limited: NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=layout.LIMITED))


class Engine(Protocol):
    """Simulates a book under the rules of this module."""

    name: str

    def simulate(self, book: Book) -> Simulation: ...


def engine(name: str) -> Engine:
    """Return the engine `ledger` (own) or `backtesting` (backtesting.py, AGPL-3.0)."""
    if name == "ledger":
        from fxgpt_core.backtest.ledger import Ledger

        return Ledger()
    from fxgpt_core.backtest.backtesting_py import BacktestingPy

    return BacktestingPy()
