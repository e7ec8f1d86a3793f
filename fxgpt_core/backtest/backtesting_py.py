"""Engine on backtesting.py 0.6 (AGPL-3.0): one strategy that replays the signals, filled at the next open."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.backtest.engine import Rules, Simulation, Trade, bracket
from fxgpt_core.backtest.signals import Signals
from fxgpt_core.market.candles import Candles


class BacktestingPy:
    """Simulates fills with `backtesting.Backtest`.

    One flat bar is put before the data, because `Backtest.run` never shows its first bar to the strategy, and one
    after it, at the last close: its own `finalize_trades` would fill the closing order at the last bar's OPEN, before
    it was decided.
    """

    name = "backtesting"

    def simulate(self, signals: Signals, rules: Rules) -> Simulation:
        """Return trades and equity; see `engine` for the rules."""
        backtest_class, strategy = _library()
        reasons: dict[int, str] = {}
        run = backtest_class(
            _padded(signals.candles),
            strategy,
            cash=rules.cash,
            spread=rules.spread,
            commission=rules.commission,
            margin=1 / rules.leverage,
            trade_on_close=False,
        )
        stats = run.run(signals=signals, rules=rules, reasons=reasons)
        equity = stats["_equity_curve"]["Equity"].to_numpy(dtype=np.float64)  # (bars + 2,)
        inside = equity[1:-1].copy()
        inside[-1] = equity[-1]  # what is left when the last position is closed
        frame = stats["_trades"].sort_values("EntryBar", kind="stable")
        return Simulation(tuple(_trade(row, reasons) for row in frame.itertuples()), inside)


def _padded(candles: Candles) -> pd.DataFrame:
    first, last = candles.open[0], candles.close[-1]
    prices = {
        name.capitalize(): np.concatenate([[first], getattr(candles, name), [last]])
        for name in ("open", "high", "low", "close")
    }
    length = candles.timeframe.duration
    times = np.concatenate([[candles.ts_utc[0] - length], candles.ts_utc, [candles.ts_utc[-1] + length]])
    return pd.DataFrame({**prices, "Volume": 0.0}, index=pd.DatetimeIndex(times))


def _trade(row: Any, reasons: dict[int, str]) -> Trade:
    direction = 1 if row.Size > 0 else -1
    return Trade(
        decision_bar=int(row.Tag),
        entry_bar=int(row.EntryBar) - 1,
        exit_bar=int(row.ExitBar) - 1,
        direction=direction,
        units=abs(int(row.Size)),
        entry_price=float(row.EntryPrice),
        exit_price=float(row.ExitPrice),
        commission=float(row.Commission),
        pnl=float(row.PnL),
        reason=reasons.get(int(row.Tag)) or _resting_order(row, direction),
    )


def _resting_order(row: Any, direction: int) -> str:
    """Return what closed a trade that the strategy did not close: the stop, the target or the margin call."""
    for name, level, side in (("stop", row.SL, -direction), ("target", row.TP, direction)):
        if level is not None and side * (row.ExitPrice - level) >= 0:
            return name
    return "ruin"


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any]:
    """Import backtesting.py on first use; return its `Backtest` and the strategy class."""
    from backtesting import Backtest, Strategy, backtesting

    # It draws a progress bar of its own on stderr whatever the caller wants; there is no option against it.
    backtesting._tqdm = lambda bars, **_: bars

    class ReplaySignals(Strategy):
        """Places at each close the orders that `fxgpt_core.backtest.engine` prescribes."""

        # The base class insists on class attributes for all parameters of `run`.
        signals: Any = None
        rules: Any = None
        reasons: Any = None

        def init(self) -> None:
            self.expires = -1

        def next(self) -> None:
            signals, bar = self.signals, len(self.data) - 2
            if bar < 0 or bar >= len(signals.candles):
                return
            held = self.trades[0] if self.trades else None
            if bar == len(signals.candles) - 1:
                self._leave(held, "end")
                return
            signal = int(signals.direction[bar])
            if signals.flat[bar]:
                self._leave(held, "weekend")
            elif held and signal == (1 if held.is_long else -1):
                self.expires = bar + signals.hold_bars
            elif held and signal == 0:
                if bar >= self.expires:
                    self._leave(held, "holding")
            elif signal:
                self._leave(held, "reversal")
                self._enter(bar, signal)

        def _leave(self, held: Any, reason: str) -> None:
            if held:
                self.reasons[int(held.tag)] = reason
                held.close()

        def _enter(self, bar: int, direction: int) -> None:
            units = self.rules.units(float(self.equity), float(self.signals.candles.close[bar]))
            if not units:
                return
            stop, target = bracket(self.signals, bar, direction)
            order = self.buy if direction > 0 else self.sell
            order(size=units, sl=stop, tp=target, tag=bar)
            self.expires = bar + self.signals.hold_bars

    return Backtest, ReplaySignals
