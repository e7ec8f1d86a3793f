"""Engine on backtesting.py 0.6 (AGPL-3.0): one strategy that replays the signals, filled at the next open.

backtesting.py knows one price per bar and charges its own `spread` at the entry alone, as a share of the price. Here
half the spread and the slippage go into its commission function, which it calls for either side, so that a round trip
pays what the ledger charges; stops and targets are handed over as the mid prices at which bid or ask touch them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.engine import Simulation
from fxgpt_core.common.errors import BadInputError

Floats = NDArray[np.float64]


class BacktestingPy:
    """Simulates fills with `backtesting.Backtest`.

    One flat bar is put before the data, because `Backtest.run` never shows its first bar to the strategy, and one
    after it, at the last close: its own `finalize_trades` would fill the closing order at the last bar's OPEN, before
    it was decided.
    """

    name = "backtesting"

    def simulate(self, book: Book) -> Simulation:
        """Return trades and equity; see `engine` for the rules.

        Raises BadInputError naming what backtesting.py cannot model.
        """
        _, stats, replay = self._run(book)
        equity = stats["_equity_curve"]["Equity"].to_numpy(dtype=np.float64)  # (bars + 2,)
        inside = equity[1:-1].copy()
        inside[-1] = equity[-1]  # what is left when the last position is closed
        frame = stats["_trades"]
        return Simulation(_trades(frame, replay), inside, refused=replay.refused(frame),
                          too_small=replay.small, late=replay.missed)  # fmt: skip

    def report(self, book: Book, page: Path | None = None) -> pd.Series[Any]:
        """Return backtesting.py's own statistics, and write its interactive chart to `page`, which opens offline."""
        test, stats, _ = self._run(book)
        if page is not None:
            from bokeh.settings import settings

            before = settings.resources()
            settings.resources = "inline"  # the chart would load its scripts from the network otherwise
            try:
                test.plot(results=stats, filename=str(page), open_browser=False, superimpose=False)
            finally:
                settings.resources = before
        return stats[[name for name in stats.index if not name.startswith("_")]]

    def _run(self, book: Book) -> tuple[Any, Any, _Replay]:
        problems = beyond_its_model(book)
        if problems:
            raise BadInputError(
                f"backtesting.py cannot model {' and '.join(problems)}: set backtest.engine to ledger, or give it "
                "costs.spread: constant, costs.swap: false and the pair's quote currency as account_currency."
            )
        from fxgpt_core.backtest.replay_strategy import Backtest, ReplaySignals

        replay = _Replay(book)
        test = Backtest(
            _padded(book),
            ReplaySignals,
            cash=book.cash,
            commission=replay.commission,
            margin=1 / float(book.account["leverage"][0]),
            trade_on_close=False,
        )
        return test, test.run(replay=replay), replay


def beyond_its_model(book: Book) -> list[str]:
    """Return what of a book backtesting.py has no model for; empty where the two engines must agree."""
    bars, found = book.bars, []
    if len(book.parts) != 1:
        found.append("several pairs on one capital")
    if book.legs["own_rate"].any() or (bars["rate_open"] != 1).any() or (bars["rate_close"] != 1).any():
        found.append("an account in another currency than the pair's quote")
    if np.ptp(bars["half"]) > 0:
        found.append("a spread that changes")
    if np.ptp(bars["slip"]) > 0:
        found.append("slippage that changes")
    if (bars["slip"] > 0).any() and np.isfinite(bars["target"]).any():
        found.append("fills at market that slip while targets do not")
    if (bars["nights"] * (abs(bars["swap_long"]) + abs(bars["swap_short"]))).any():
        found.append("swap")
    return found


def _padded(book: Book) -> pd.DataFrame:
    bars = book.bars[:, 0]
    first, last = bars["open"][0], bars["close"][-1]
    prices = {
        name.capitalize(): np.concatenate([[first], bars[name], [last]]) for name in ("open", "high", "low", "close")
    }
    length = book.closes[0] - book.times[0]
    times = np.concatenate([[book.times[0] - length], book.times, [book.times[-1] + length]])
    return pd.DataFrame({**prices, "Volume": 0.0}, index=pd.DatetimeIndex(times))


def _plain(records: NDArray[Any]) -> dict[str, Any]:
    """Return the only record as plain numbers, which Python reads faster than NumPy's."""
    return dict(zip(records.dtype.names or (), records[0].item(), strict=True))


class _Replay:
    """The book of one pair as the strategy walks through it, and what it leaves behind."""

    def __init__(self, book: Book) -> None:
        bars = book.bars[:, 0]
        self.leg, self.account = _plain(book.legs), _plain(book.account)
        self.directions, self.flat = bars["direction"].tolist(), bars["flat"].tolist()
        self.late = bars["late"].tolist()
        self.open, self.close, self.high, self.low = (bars[name].tolist() for name in ("open", "close", "high", "low"))
        self.stop, self.target, self.trail = (bars[name].tolist() for name in ("stop", "target", "trail"))
        self.trails = bool(np.isfinite(bars["trail"]).any())
        self.fraction = bars["fraction"].tolist()
        self.half, self.slip = float(bars["half"][0]), float(bars["slip"][0])
        self.hold, self.longest = int(self.leg["hold"]), int(self.leg["longest"])
        self.least = self.account["stop_out"] / self.account["leverage"]  # equity over value of a position
        self.switches, self.fee = bool(self.account["exit_on_opposite"]), float(self.leg["commission"])
        self.balance = book.cash
        self.reasons: dict[int, int] = {}
        self.trailed: set[int] = set()
        self.orders = self.small = self.missed = 0

    def commission(self, size: float, price: float) -> float:
        """What one fill pays: half the spread, slippage and commission."""
        return abs(size) * (self.half + self.slip + price * self.fee)

    def stop_out(self, size: float, price: float, equity: float) -> float:
        """Return the mid price beyond which the broker closes the only position; backtesting.py knows no such rule.

        `size`: signed; `equity`: what the account is worth at `price`. Solves equity = `stop_out` x value / leverage.
        """
        return (price - equity / size) / (1 - math.copysign(self.least, size))

    def units(self, bar: int, equity: float, balance: float) -> int:
        """Return the size of a new position; the rules of `SizingConfig`, written a second time."""
        price, leg = self.close[bar], self.leg
        money = balance if self.account["of_balance"] else equity
        wanted = leg["fixed_units"] or self.fraction[bar] * money / price
        caps = (
            leg["max_units"],
            leg["max_fraction"] * money / price,
            equity * self.account["leverage"] * self.account["margin_use"] / price,
        )
        lots = math.floor(min(wanted, *caps) / leg["lot"] + 1e-9) if wanted > 0 else 0
        units = round(max(lots, 0) * leg["lot"])
        return units if units >= leg["min_units"] else 0

    def bracket(self, bar: int, side: int) -> tuple[float | None, float | None]:
        """Return the mid prices at which stop and target are touched, None where there are none."""
        price, stop, target = self.close[bar], self.stop[bar], self.target[bar]
        below = None if math.isnan(stop) else price * math.exp(-side * stop) + side * self.half
        above = None if math.isnan(target) else price * math.exp(side * target) + side * self.half
        return below, above

    def levels(self, bars: NDArray[np.int64], sides: Floats) -> zip[tuple[float | None, ...]]:
        """Return stops and targets of the positions decided at `bars`, two tuples."""
        return zip(*(self.bracket(bar, int(side)) for bar, side in zip(bars.tolist(), sides, strict=True)), strict=True)

    def refused(self, trades: pd.DataFrame) -> int:
        """Return how many entries were ordered and never filled."""
        return self.orders - len(trades)


def _trades(frame: pd.DataFrame, replay: _Replay) -> NDArray[Any]:
    """Return the trades of backtesting.py's table as `layout.TRADE`."""
    out = np.zeros(len(frame), dtype=layout.TRADE)
    if not len(frame):
        return out
    column = {name: frame[name].to_numpy(dtype=np.float64) for name in frame.columns if name not in ("Tag", "Duration")}
    side, units, tag = np.sign(column["Size"]), np.abs(column["Size"]), frame["Tag"].to_numpy(dtype=np.int64)
    away, touch = side * (replay.half + replay.slip), side * replay.half
    stop, target = (np.array([np.nan if v is None else v for v in levels]) for levels in replay.levels(tag, side))
    out["decision_bar"], out["direction"], out["units"] = tag, side, units
    out["entry_bar"], out["exit_bar"] = column["EntryBar"] - 1, column["ExitBar"] - 1
    out["entry_mid"], out["exit_mid"] = column["EntryPrice"], column["ExitPrice"]
    out["entry_price"], out["exit_price"] = column["EntryPrice"] + away, column["ExitPrice"] - away
    out["reason"] = _reasons(column, side, tag, replay)
    by_stop = np.isin(out["reason"], (layout.STOP, layout.TRAILING))
    level = np.where(by_stop, column["SL"], np.where(out["reason"] == layout.TARGET, column["TP"], np.nan))
    out["stop"], out["target"], out["level"] = stop - touch, target - touch, level - touch
    out["entry_rate"] = out["exit_rate"] = 1.0
    out["entry_half"] = out["exit_half"] = replay.half
    out["entry_slip"] = out["exit_slip"] = replay.slip
    out["gross"] = side * units * (column["ExitPrice"] - column["EntryPrice"])
    out["spread"], out["slippage"] = 2 * units * replay.half, 2 * units * replay.slip
    out["commission"] = column["Commission"] - out["spread"] - out["slippage"]
    out["pnl"] = column["PnL"]
    return out


def _reasons(column: dict[str, Floats], side: Floats, tag: NDArray[np.int64], replay: _Replay) -> NDArray[np.int64]:
    """Return what ended each trade: what the strategy said, else the stop, the target or the margin call: (trades,)."""
    said = np.array([replay.reasons.get(number, layout.NOTHING) for number in tag.tolist()], dtype=np.int64)
    trailed = np.array([number in replay.trailed for number in tag.tolist()], dtype=bool)
    stopped = side * (column["SL"] - column["ExitPrice"]) >= 0  # False where there is no stop
    reached = side * (column["ExitPrice"] - column["TP"]) >= 0
    resting = np.where(
        stopped, np.where(trailed, layout.TRAILING, layout.STOP), np.where(reached, layout.TARGET, layout.RUIN)
    )
    return np.where(said == layout.NOTHING, resting, said)
