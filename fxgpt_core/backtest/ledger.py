"""Own engine and the reference: a compiled cash book over the bars of one or several pairs on one capital."""

from __future__ import annotations

import numpy as np

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.engine import Simulation


class Ledger:
    """Simulates fills bar by bar; see `engine` for the rules."""

    name = "ledger"

    def simulate(self, book: Book) -> Simulation:
        """Return trades, equity and the account's path."""
        from fxgpt_core.backtest.kernels import run

        rows, count = book.bars.shape
        signals = int(np.count_nonzero(book.bars["direction"]))
        trades = np.zeros(signals + 1, dtype=layout.TRADE)
        notes = np.zeros(2 * signals + 1, dtype=layout.LIMITED)  # an entry may be cut, and refused later
        held, orders = (np.zeros(count, dtype=layout.POSITION) for _ in range(2))
        held["closing"] = layout.NOTHING
        path, equity = np.zeros((rows, len(layout.PATH))), np.zeros(rows)
        counts = run(
            book.bars,
            book.legs,
            book.account[0],
            book.limits[0],
            book.returns,
            held,
            orders,
            trades,
            notes,
            path,
            equity,
        )
        done, refused, small, late, noted = counts.tolist()
        return Simulation(trades[:done].copy(), equity, path, refused, small, late, notes[:noted].copy())
