"""Own engine: a cash book over the bars, the second opinion on backtesting.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fxgpt_core.backtest.engine import Rules, Simulation, Trade, bracket
from fxgpt_core.backtest.signals import Signals


@dataclass
class _Position:
    decision_bar: int
    entry_bar: int
    direction: int
    units: int
    entry_price: float
    expires: int
    stop: float | None
    target: float | None


@dataclass
class _Book:
    """Cash, the open position and what was ordered for the next open."""

    rules: Rules
    cash: float
    trades: list[Trade]
    position: _Position | None = None
    closing: str = ""
    entering: _Position | None = None

    def equity(self, price: float) -> float:
        held = self.position
        return self.cash + (held.direction * held.units * (price - held.entry_price) if held else 0.0)

    def enter(self, bar: int, price: float) -> None:
        held, self.entering = self.entering, None
        if held is not None:
            held.entry_bar, held.entry_price = bar, price * (1 + held.direction * self.rules.spread)
            self.cash -= held.units * held.entry_price * self.rules.commission
            self.position = held

    def leave(self, bar: int, price: float, reason: str) -> None:
        held, self.position, self.closing = self.position, None, ""
        if held is None:
            return
        gross = held.direction * held.units * (price - held.entry_price)
        exit_fee = held.units * price * self.rules.commission
        commission = held.units * held.entry_price * self.rules.commission + exit_fee
        self.cash += gross - exit_fee
        self.trades.append(
            Trade(
                decision_bar=held.decision_bar,
                entry_bar=held.entry_bar,
                exit_bar=bar,
                direction=held.direction,
                units=held.units,
                entry_price=held.entry_price,
                exit_price=price,
                commission=commission,
                pnl=gross - commission,
                reason=reason,
            )
        )


class Ledger:
    """Simulates fills bar by bar in plain Python."""

    name = "ledger"

    def simulate(self, signals: Signals, rules: Rules) -> Simulation:
        """Return trades and equity; see `engine` for the rules."""
        candles, book = signals.candles, _Book(rules, rules.cash, [])
        bars = len(candles)
        equity = np.zeros(bars)
        for bar in range(bars):
            if book.closing:
                book.leave(bar, float(candles.open[bar]), book.closing)
            book.enter(bar, float(candles.open[bar]))
            _rest_in_market(book, signals, bar)
            close = float(candles.close[bar])
            equity[bar] = book.equity(close)
            if equity[bar] <= 0:
                book.leave(bar, close, "ruin")
                equity[bar:] = 0.0
                break
            if bar == bars - 1:
                book.leave(bars, close, "end")
                equity[bar] = book.cash
            else:
                _decide(book, signals, bar, float(equity[bar]))
        return Simulation(tuple(book.trades), equity)


def _rest_in_market(book: _Book, signals: Signals, bar: int) -> None:
    """Fill the stop, else the target, at its price or at an open beyond it."""
    held, candles = book.position, signals.candles
    if held is None:
        return
    first, high, low = float(candles.open[bar]), float(candles.high[bar]), float(candles.low[bar])
    worse, better = (min, max) if held.direction > 0 else (max, min)
    against, favour = (low, high) if held.direction > 0 else (high, low)
    if held.stop is not None and held.direction * (against - held.stop) <= 0:
        book.leave(bar, worse(first, held.stop), "stop")
    elif held.target is not None and held.direction * (favour - held.target) >= 0:
        book.leave(bar, better(first, held.target), "target")


def _decide(book: _Book, signals: Signals, bar: int, equity: float) -> None:
    """Order closing and entry for the next open."""
    held, signal = book.position, int(signals.direction[bar])
    if signals.flat[bar]:
        book.closing = "weekend" if held else ""
        return
    if held and signal == held.direction:
        held.expires = bar + signals.hold_bars
        return
    if held and signal == 0:
        book.closing = "holding" if bar >= held.expires else ""
        return
    book.closing = "reversal" if held else ""
    units = book.rules.units(equity, float(signals.candles.close[bar])) if signal else 0
    if units:
        stop, target = bracket(signals, bar, signal)
        book.entering = _Position(bar, -1, signal, units, 0.0, bar + signals.hold_bars, stop, target)
