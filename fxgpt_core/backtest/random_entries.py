"""What chance earns: random entries with the number, lengths, sizes and costs of a strategy's own trades (SPEC 11).

Each draw keeps every trade's length in bars and as many long and short ones, throws their times and sides anew, and
goes through the ledger: the same spread by hour, slippage, commission, swap and lots. Stops and targets are left out,
for the lengths already hold what they did; so are the bars on which the strategy could not have traded: before it had
seen enough forecasts, and before a weekend if it must be flat then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.book import Book, Leg
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.ledger import Ledger
from fxgpt_core.backtest.metrics import TRADING_DAYS, day_ends, returns_between
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.backtest.table_times import array_times

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_BY_FORECAST = ("kelly", "risk", "shrink")
_FOREVER = 2**31
_SHARES_OF_GAPS = (1.0, 0.95, 0.85, 0.6, 0.0)
"""What of the free bars is thrown between trades; less where ends of weeks left so much unused that not all fitted."""


@dataclass(frozen=True)
class RandomEntries:
    """Figures of (draws,) random strategies: `returns` total and net of costs, `sharpes` yearly (0 where undefined).

    `trades`, `exposure`: their means, to compare with the strategy's own; `p_return`, `p_sharpe`: the share of draws
    at least as good as the strategy, one-sided, (1 + better) / (1 + draws).
    """

    returns: Floats
    sharpes: Floats
    trades: float
    exposure: float
    p_return: float
    p_sharpe: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values with the sorted distributions."""
        return {
            "draws": len(self.returns),
            "trades": self.trades,
            "exposure": self.exposure,
            "p_return": self.p_return,
            "p_sharpe": self.p_sharpe,
            "returns": [round(float(value), 6) for value in np.sort(self.returns)],
            "sharpes": [round(float(value), 4) for value in np.sort(self.sharpes)],
        }


@dataclass(frozen=True)
class _Task:
    """One leg's trades to place: `holds`, `sides`, `sizes`: (trades,) bars held, 1 or -1, wanted size; `line`: (bars,)
    rows of the book at whose closes may be traded, `lengths`: (stretches,) of the unbroken ones among them."""

    holds: Integers
    sides: Integers
    sizes: Floats
    line: Integers
    lengths: Integers


def random_entries(
    book: Book, result: BacktestResult, config: BacktestConfig, draws: int, seed: int
) -> RandomEntries | None:
    """Return the distribution of `draws` random strategies like that of `result`; None where it traded nothing.

    `book`: the one that `result` was simulated on. The same seed gives the same draws.
    """
    if not len(result.trades) or draws < 1:
        return None
    bars = _plain(book, config)
    tasks = [_task(book, leg, part, result.trades, config) for leg, part in enumerate(book.parts)]
    legs, account = book.legs.copy(), book.account.copy()
    legs["hold"], legs["longest"], account["exit_on_opposite"] = 1, _FOREVER, True
    drawn = replace(book, bars=bars, legs=legs, account=account)
    ends = day_ends(book.closes)[0]
    closing = np.full((draws, len(ends) + 1), book.cash)
    count, held = 0.0, 0.0
    rng = np.random.default_rng(seed)
    for draw in range(draws):
        for leg, task in enumerate(tasks):
            _throw(bars, leg, task, rng, config)
        outcome = Ledger().simulate(drawn)
        closing[draw, 1:] = outcome.equity[ends]
        count += len(outcome.trades)
        held += float((outcome.trades["exit_bar"] - outcome.trades["entry_bar"]).sum())
    returns, sharpes = closing[:, -1] / book.cash - 1, _sharpes(closing)
    own, ratio = result.metrics["return"], result.metrics["sharpe"]
    return RandomEntries(
        returns=returns,
        sharpes=sharpes,
        trades=count / draws,
        exposure=held / draws / len(book.times),
        p_return=_share(returns, float(own or 0.0)),
        p_sharpe=_share(sharpes, float(ratio or 0.0)),
    )


def _plain(book: Book, config: BacktestConfig) -> NDArray[Any]:
    """Return bars without signals, stops and targets; sizes stand on the last forecast where a bar has none."""
    bars = book.bars.copy()
    bars["direction"] = 0
    for name in ("stop", "target", "trail"):
        bars[name] = np.nan
    if config.sizing.method not in _BY_FORECAST:
        for leg in range(bars.shape[1]):
            sizes = bars["fraction"][:, leg]
            known = np.maximum.accumulate(np.where(sizes > 0, np.arange(len(sizes)), 0))
            bars["fraction"][:, leg] = sizes[known]
    return bars


def _task(book: Book, leg: int, part: Leg, trades: pd.DataFrame, config: BacktestConfig) -> _Task:
    mine = trades[trades["symbol"] == part.pair.symbol]
    rows = np.flatnonzero(book.bars["present"][:, leg])
    decided = np.searchsorted(book.closes, array_times(mine["decided_at"]))
    entered, left = (np.searchsorted(book.times, array_times(mine[name])) for name in ("entry_time", "exit_time"))
    holds = np.searchsorted(rows, left) - np.searchsorted(rows, entered)
    # An exit in the bar of the entry still was a position in that bar.
    holds = np.maximum(holds, 1)
    forecasts = np.flatnonzero(np.isfinite(part.signals.confidence))
    own, begin = np.arange(len(rows)), forecasts[min(config.history_rows, len(forecasts) - 1)]
    allowed = ~book.bars["flat"][rows, leg] & (own >= begin) & (own < len(rows) - 1)
    line = np.flatnonzero(allowed)
    ends = np.flatnonzero(np.r_[np.diff(line) > 1, True]) + 1  # one past the last of each stretch
    return _Task(
        holds=holds.astype(np.int64),
        sides=mine["direction"].to_numpy(dtype=np.int64),
        sizes=book.bars["fraction"][decided, leg],
        line=rows[line],
        lengths=np.diff(ends, prepend=0),
    )


def _throw(bars: NDArray[Any], leg: int, task: _Task, rng: np.random.Generator, config: BacktestConfig) -> None:
    """Write one draw of a leg's trades into `bars`: order, sides and gaps between them are thrown anew."""
    from fxgpt_core.backtest.placements import lay

    count, room = len(task.holds), len(task.line)
    if not count or not room:
        return
    signal, size = np.zeros(room, dtype=np.int64), np.zeros(room)
    # Starting anywhere and going on at the front, so that what finds no room is missing anywhere and not at the end.
    turn = int(rng.integers(len(task.lengths)))
    line, lengths = np.roll(task.line, -int(task.lengths[:turn].sum())), np.roll(task.lengths, -turn)
    limits = np.repeat(np.cumsum(lengths), lengths)
    for share in _SHARES_OF_GAPS:
        order, sides = rng.permutation(count), rng.permutation(task.sides)
        holds, sizes = task.holds[order], task.sizes[order]
        apart = np.r_[0, sides[1:] == sides[:-1]]
        if holds.sum() + apart.sum() > room:  # always in the market: sides alternate, as the strategy's do
            sides = np.where(np.arange(count) % 2, -sides[0], sides[0])
            apart = np.zeros(count, dtype=np.int64)
        slack = max(0, room - int(holds.sum() + apart.sum()))
        gaps = np.sort(rng.integers(0, int(share * slack) + 1, count))
        starts = gaps + np.cumsum(apart) + np.cumsum(holds) - holds
        signal[:] = 0
        if not lay(starts, holds, sides, sizes, limits, signal, size):
            break
    bars["direction"][line, leg] = signal
    if config.sizing.method in _BY_FORECAST:
        # A size that hangs on what the model said is kept with its trade: at another bar it would be another model's.
        bars["fraction"][line, leg] = size


def _sharpes(closing: Floats) -> Floats:
    daily = returns_between(closing)
    if daily.shape[1] < 2:
        return np.zeros(len(daily))
    spread = daily.std(axis=1, ddof=1)
    return np.asarray(np.where(spread > 0, daily.mean(axis=1) / np.where(spread > 0, spread, 1), 0) * TRADING_DAYS**0.5)


def _share(drawn: Floats, own: float) -> float:
    return float((1 + (drawn >= own).sum()) / (1 + len(drawn)))
