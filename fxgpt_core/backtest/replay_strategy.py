"""The strategy that people know from backtesting.py; that loads slowly, so this module is imported where it is used."""

from __future__ import annotations

import math
from typing import Any

from backtesting import Backtest, Strategy, backtesting

from fxgpt_core.backtest import layout

__all__ = ["Backtest", "ReplaySignals"]

# It draws a progress bar of its own on stderr whatever the caller wants; there is no option against it.
backtesting._tqdm = lambda bars, **_: bars


class ReplaySignals(Strategy):
    """Places at each close the orders that `fxgpt_core.backtest.engine` prescribes."""

    replay: Any = None  # the base class insists on class attributes for all parameters of `run`

    def init(self) -> None:
        self.expires = self.latest = -1
        self.known: Any = None  # the position held; its side, and the price at which the broker closes it, times that
        self.side, self.margin = 0, math.nan
        self.bar = 0  # `next` is first called at the close of the padded second bar, the book's first
        self.last = len(self.replay.close) - 1

    def next(self) -> None:
        replay, bar = self.replay, self.bar
        self.bar += 1
        if bar > self.last:
            return
        trades = self.trades
        held = trades[0] if trades else None
        signal = replay.directions[bar]
        if held is None:
            if signal and bar < self.last and not replay.flat[bar]:
                self._enter(bar, signal, None)
            return
        if replay.trails:
            self._trail(bar, held)
        if held is not self.known:
            self.known, self.side = held, 1 if held.is_long else -1
            self.margin = self.side * replay.stop_out(held.size, replay.close[bar], float(self.equity))
        if bar == self.last:
            self._leave(held, layout.END)
        elif replay.flat[bar]:
            self._leave(held, layout.WEEKEND)
        elif bar >= self.latest:
            self._leave(held, layout.MAXIMUM)
        elif signal and signal != self.side and replay.switches:
            self._leave(held, layout.REVERSAL)
            self._enter(bar, signal, held)
        elif bar >= self.expires and signal != self.side:
            self._leave(held, layout.HOLDING)
        elif self.side * replay.open[bar + 1] < self.margin:  # the broker's doing, so it may see that open
            self._leave(held, layout.STOPPED_OUT)
        elif signal == self.side:
            self.expires = bar + replay.hold

    def _leave(self, held: Any, reason: int) -> None:
        self.replay.reasons[int(held.tag)] = reason
        held.close()

    def _enter(self, bar: int, side: int, held: Any) -> None:
        replay, equity = self.replay, float(self.equity)
        open_profit = 0.0 if held is None else held.size * (replay.close[bar] - held.entry_price)
        # The ledger pays half the spread and the slippage of an entry at the exit, backtesting.py at the entry.
        prepaid = 0.0 if held is None else abs(held.size) * (replay.half + replay.slip)
        units = replay.units(bar, equity, equity - open_profit + prepaid)
        if not units:
            replay.small += 1
            return
        if replay.late[bar + 1]:  # the order would be cancelled before that open; there is none to place and withdraw
            replay.missed += 1
            return
        stop, target = replay.bracket(bar, side)
        order = self.buy if side > 0 else self.sell
        order(size=units, sl=stop, tp=target, tag=bar)
        replay.orders += 1
        self.expires, self.latest = bar + replay.hold, bar + replay.longest

    def _trail(self, bar: int, held: Any) -> None:
        replay, tag = self.replay, int(held.tag)
        distance = replay.trail[tag]
        if math.isnan(distance):
            return
        side = 1 if held.is_long else -1
        best = replay.high[bar] if side > 0 else replay.low[bar]
        level = best * math.exp(-side * distance) + side * replay.half
        if held.sl is None or side * (level - held.sl) > 0:
            held.sl = level
            replay.trailed.add(tag)
