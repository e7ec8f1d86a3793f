"""How sure the figures of a backtest are: bootstrap intervals of all of them from the same resampled days (SPEC 11)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.metrics import TRADING_DAYS, YEAR, day_ends, returns_between
from fxgpt_core.backtest.table_times import array_times

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Intervals = dict[str, tuple[float, float] | None]

OF_CURVE = ("return", "cagr", "sharpe", "sortino", "calmar", "max_drawdown")
OF_TRADES = ("trades", "win_rate", "profit_factor", "expectancy", "average_win", "average_loss", "exposure")
_LEAST_BLOCKS, _LEAST_DEFINED = 4, 0.5


def bootstrap_intervals(
    known_at: Times, equity: Floats, start: float, trades: pd.DataFrame, draws: int, block: int, level: float, seed: int
) -> Intervals:
    """Return percentile intervals of what `curve_metrics` and `trade_metrics` say, by the circular block bootstrap.

    Politis and Romano (1992): blocks of `block` consecutive trading days, wrapped around the end, so that dependence
    within a block survives; a trade comes along with the day on which it ended. `known_at`, `equity`: (bars,); `trades`
    with `exit_time`, `pnl` and `bars_held`. Drawdowns are those of daily closings, which are smaller than within days.
    None below four blocks, where the interval would only look like one, and for a figure that most draws do not have.
    """
    ends, _ = day_ends(known_at)
    daily = returns_between(np.r_[start, equity[ends]])
    days = len(daily)
    if days < _LEAST_BLOCKS * block or not len(trades):
        return dict.fromkeys((*OF_CURVE, *OF_TRADES))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, days, (draws, -(-days // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :days] % days  # (draws, days)
    years = float((known_at[-1] - known_at[0]) / YEAR)
    told = {**_of_curves(daily[rows], years), **_of_trades(_by_day(known_at[ends], trades), rows, len(known_at))}
    return {name: _interval(values, level) for name, values in told.items()}


def _of_curves(sample: Floats, years: float) -> dict[str, Floats]:
    """Return the figures of curves with these daily returns, (draws, days): (draws,) each, NaN where undefined."""
    growth = np.cumprod(1 + sample, axis=1)
    total, mean = growth[:, -1] - 1, sample.mean(axis=1)
    peaks = np.maximum(np.maximum.accumulate(growth, axis=1), 1.0)
    drawdown = (1 - growth / peaks).max(axis=1)
    below = np.sqrt((np.minimum(sample, 0) ** 2).mean(axis=1))
    cagr = np.maximum(1 + total, 0.0) ** (1 / years) - 1 if years > 1 / 52 else np.full(len(total), np.nan)
    return {
        "return": total,
        "cagr": cagr,
        "sharpe": _over(mean, sample.std(axis=1, ddof=1), 0.0) * np.sqrt(TRADING_DAYS),
        "sortino": _over(mean, below) * np.sqrt(TRADING_DAYS),
        "calmar": _over(cagr, drawdown),
        "max_drawdown": drawdown,
    }


def _by_day(closings: Times, trades: pd.DataFrame) -> dict[str, Floats]:
    """Return what the trades that ended on each day add up to: (days,) each."""
    day = np.minimum(np.searchsorted(closings, array_times(trades["exit_time"])), len(closings) - 1)
    pnl = trades["pnl"].to_numpy(dtype=np.float64)
    held = np.maximum(trades["bars_held"].to_numpy(dtype=np.float64), 1.0)

    def add(values: Floats) -> Floats:
        return np.asarray(np.bincount(day, values, len(closings)), dtype=np.float64)

    return {
        "count": add(np.ones(len(pnl))), "wins": add((pnl > 0) * 1.0), "losses": add((pnl < 0) * 1.0),
        "won": add(np.maximum(pnl, 0.0)), "lost": add(np.minimum(pnl, 0.0)), "held": add(held),
    }  # fmt: skip


def _of_trades(by_day: Mapping[str, Floats], rows: NDArray[np.int64], bars: int) -> dict[str, Floats]:
    """Return the figures of the trades that the drawn days, (draws, days), bring along: (draws,) each."""
    total = {name: values[rows].sum(axis=1) for name, values in by_day.items()}
    return {
        "trades": total["count"],
        "win_rate": _over(total["wins"], total["count"]),
        "profit_factor": _over(total["won"], -total["lost"]),
        "expectancy": _over(total["won"] + total["lost"], total["count"]),
        "average_win": _over(total["won"], total["wins"]),
        "average_loss": _over(total["lost"], total["losses"]),
        "exposure": np.minimum(total["held"] / bars, 1.0),
    }


def _over(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    some = below > 0
    return np.asarray(np.where(some, above / np.where(some, below, 1.0), otherwise))


def _interval(values: Floats, level: float) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    if len(known) < _LEAST_DEFINED * len(values):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
