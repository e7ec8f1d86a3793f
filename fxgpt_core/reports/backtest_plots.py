"""Plots of a backtest's page as inline SVG: equity and drawdown, costs, chance, single trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports.plots import BAD, DOWN, FAN, INK, QUIET, UP, canvas, draw_candles, draw_fan, grid_of, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_BEFORE, _AFTER, _MOST_BARS = 30, 12, 150


def equity_chart(curve: Mapping[str, Sequence[Any]], cash: float) -> str:
    """Draw the account net and before costs, in per cent of the start, above its drawdown."""
    times = np.asarray(curve["times"], dtype="datetime64[s]")
    equity = np.asarray(curve["equity"], dtype=np.float64)
    figure, (top, bottom) = grid_of(2, 1, 9.6, 4.6)
    if "gross" in curve:
        gross = np.asarray(curve["gross"], dtype=np.float64) / cash * 100
        top.plot(times, gross, color=QUIET, linewidth=1.1, label="before costs")
    top.plot(times, (equity / cash - 1) * 100, color=FAN, linewidth=1.5, label="after costs")
    top.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    top.set_ylabel("return, %")
    top.legend(frameon=False, fontsize=8, ncols=2)
    peak = np.maximum.accumulate(np.maximum(equity, cash))
    bottom.fill_between(times, (equity / peak - 1) * 100, 0, color=BAD, alpha=0.55, linewidth=0)
    bottom.set_ylabel("drawdown, %")
    return svg(figure, "Equity and drawdown")


def cost_waterfall(steps: Sequence[tuple[str, float]], currency: str) -> str:
    """Draw from the first step (gross) by each change to the sum (net); `steps`: name and amount, net left out."""
    figure, axes = canvas(9.6, 3.0)
    names, amounts = [name for name, _ in steps], np.array([amount for _, amount in steps])
    level = np.cumsum(amounts)
    bottom = np.r_[0.0, level[:-1]]
    for place, (amount, start) in enumerate(zip(amounts, bottom, strict=True)):
        _bar(axes, place, start, amount, FAN if place == 0 else UP if amount > 0 else DOWN)
    _bar(axes, len(steps), 0.0, float(level[-1]), INK)
    for place in range(len(steps)):
        axes.plot([place + 0.35, place + 0.65], [level[place]] * 2, color=QUIET, linewidth=0.8)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(steps) + 1), [*names, "net"])
    axes.margins(y=0.18)
    axes.set_ylabel(currency)
    return svg(figure, "From gross to net")


def _bar(axes: Axes, place: int, start: float, amount: float, colour: str) -> None:
    axes.bar(place, amount, bottom=start, width=0.7, color=colour)
    end = start + amount
    above = end >= start
    axes.annotate(
        f"{amount:+,.0f}" if round(amount) else "0", (place, end), (0, 3 if above else -3), textcoords="offset points",
        ha="center", va="bottom" if above else "top", fontsize=8, color=INK,
    )  # fmt: skip


def chance_chart(chance: Mapping[str, Any], total: float, sharpe: float | None) -> str:
    """Draw what random entries earned, and where the strategy stands among them."""
    figure, (left, right) = grid_of(1, 2, 9.6, 2.8)
    drawn = np.asarray(chance["returns"], dtype=np.float64) * 100
    _histogram(left, drawn, total * 100, "return after costs, %", chance["p_return"])
    _histogram(right, np.asarray(chance["sharpes"], dtype=np.float64), sharpe, "Sharpe ratio", chance["p_sharpe"])
    left.set_ylabel("random strategies")
    return svg(figure, "What chance earns")


def _histogram(axes: Axes, drawn: Floats, own: float | None, label: str, p: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.hist(drawn, bins=30, color=QUIET, alpha=0.75)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if own is not None:
        axes.axvline(own, color=BAD, linewidth=1.8, label=f"this strategy, p = {p:.3f}")
        axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel(label)


def trade_chart(candles: Candles, forecast: Forecast, trade: pd.Series[Any]) -> str:
    """Draw the bars around a trade, the forecast that decided it as a fan, and where it was entered and left.

    `trade`: a row of `backtest.trades.TRADE_COLUMNS`. Time runs in bars; 0 is the bar at whose close it was decided.
    """
    decided = np.datetime64(trade["decided_at"].tz_localize(None), "ns")
    at = int(np.searchsorted(candles.known_at, decided))
    entry, leave = (
        int(np.searchsorted(candles.ts_utc, np.datetime64(trade[name].tz_localize(None), "ns"))) - at
        for name in ("entry_time", "exit_time")
    )
    last = min(max(leave, 0) + _AFTER, _MOST_BARS - _BEFORE)
    shown = candles.take(slice(max(0, at - _BEFORE), at + last + 1))
    first = max(0, at - _BEFORE) - at
    figure, axes = canvas(4.7, 2.9)
    draw_candles(axes, shown, np.arange(len(shown)) + first)
    row = int(np.searchsorted(forecast.decided_at, decided))
    draw_fan(axes, forecast, row, float(candles.close[at]), candles.timeframe.minutes)
    for name, colour in (("stop", DOWN), ("target", UP)):
        if np.isfinite(trade[name]):
            axes.hlines(trade[name], entry, min(leave, last), color=colour, linewidth=1.0, linestyle="--")
    marker = "^" if trade["direction"] > 0 else "v"
    axes.plot(entry, trade["entry_price"], marker, color=INK, markersize=7)
    if leave <= last:
        axes.plot(leave, trade["exit_price"], "X", color=UP if trade["pnl"] > 0 else DOWN, markersize=7)
    axes.plot([entry, min(leave, last)], [trade["entry_price"], trade["exit_price"]], color=INK, linewidth=0.8)
    axes.set_xlim(first - 1, max(last, 4) + 1)
    axes.set_xlabel(f"bars of {candles.timeframe} from the decision")
    return svg(figure, f"Trade entered {trade['entry_time']:%Y-%m-%d %H:%M}")
