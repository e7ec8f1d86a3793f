"""What needs no model: holding, and following or fading the last move, with the strategy's own sizes and costs.

The volatility baselines (random walk, EWMA, GARCH, HAR, …) lean neither way and so trade nothing: what they would have
earned is not applicable. The naive direction is therefore the side of the last move, over as long as the traded
horizon, taken at the strategy's own entries: only the direction differs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.ledger import Ledger
from fxgpt_core.backtest.metrics import curve_metrics
from fxgpt_core.backtest.result import BacktestResult

_FOREVER = 2**31


@dataclass(frozen=True)
class Comparison:
    """What another rule earned on the same bars: `gross_return`, `total_return` of the cash at the start, the latter
    net; `paid`: costs as a share of it (`swap` below zero was earned); `sharpe` yearly, None where not defined."""

    name: str
    gross_return: float
    total_return: float
    sharpe: float | None
    max_drawdown: float
    trades: int
    paid: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def comparisons(book: Book, result: BacktestResult) -> list[Comparison]:
    """Return buy and hold, sell and hold, following and fading the last move; empty where nothing was traded.

    `book`: the one that `result` was simulated on. A holder enters with the strategy's first possible trade, at the
    mean size of its entries, pays spread, slippage, commission and every night's swap, and leaves at the end.
    """
    if not len(result.trades):
        return []
    side = _last_move(book)
    entries = book.bars["direction"] != 0
    moved = {name: np.where(entries, sign * side, 0) for name, sign in (("follow", 1), ("fade", -1))}
    return [
        _outcome("buy and hold", _held(book, 1)),
        _outcome("sell and hold", _held(book, -1)),
        _outcome("follow the last move", _directed(book, moved["follow"])),
        _outcome("fade the last move", _directed(book, moved["fade"])),
    ]


def _held(book: Book, side: int) -> Book:
    bars, legs = book.bars.copy(), book.legs.copy()
    entries = bars["direction"] != 0
    bars["direction"], bars["flat"], bars["late"] = 0, False, False
    for name in ("stop", "target", "trail"):
        bars[name] = np.nan
    for leg in range(bars.shape[1]):
        rows = np.flatnonzero(entries[:, leg])
        if len(rows):
            bars["direction"][rows[0], leg] = side
            bars["fraction"][rows[0], leg] = bars["fraction"][rows, leg].mean()
    legs["hold"] = legs["longest"] = _FOREVER
    return replace(book, bars=bars, legs=legs)


def _directed(book: Book, direction: NDArray[np.int64]) -> Book:
    bars = book.bars.copy()
    bars["direction"] = direction
    return replace(book, bars=bars)


def _last_move(book: Book) -> NDArray[np.int64]:
    """Return the side of the move over the last `hold` bars, 0 before there are so many: (bars, legs)."""
    out = np.zeros(book.bars.shape, dtype=np.int64)
    for leg in range(out.shape[1]):
        back, close = int(book.legs["hold"][leg]), book.bars["close"][:, leg]
        out[back:, leg] = np.sign(close[back:] - close[:-back]).astype(np.int64)
    return out


def _outcome(name: str, book: Book) -> Comparison:
    simulation = Ledger().simulate(book)
    trades, curve = simulation.trades, curve_metrics(book.closes, simulation.equity, book.cash)
    paid = {kind: float(trades[kind].sum() / book.cash) for kind in ("spread", "slippage", "commission")}
    return Comparison(
        name=name,
        gross_return=float(trades["gross"].sum() / book.cash),
        total_return=float(simulation.equity[-1] / book.cash - 1),
        sharpe=curve["sharpe"],
        max_drawdown=float(curve["max_drawdown"] or 0.0),
        trades=len(trades),
        paid={**paid, "swap": float(-trades["swap"].sum() / book.cash)},
    )
