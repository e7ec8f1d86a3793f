"""Figures of an equity curve and its trades (SPEC 11); `intervals` says how sure they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.market.calendar import week_open

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

TRADING_DAYS = 365.25 / 7 * 5
"""Trading days per year: five from each week."""
_DAY = np.timedelta64(86_400_000_000_000, "ns")
_FLIPS_AT_ONCE = 100
YEAR = np.timedelta64(int(365.25 * 86_400), "s")


def day_ends(known_at: Times) -> tuple[NDArray[np.int64], Times]:
    """Return the last row of each trading day (17:00 to 17:00 New York) and its UTC date at the start: (days,)."""
    just_before = known_at - np.timedelta64(1, "ns")
    week = week_open(just_before)
    day = week + np.minimum((just_before - week) // _DAY, 4) * _DAY  # stray weekend bars belong to Friday
    last = np.flatnonzero(np.r_[day[1:] != day[:-1], True])
    return last, day[last].astype("datetime64[D]")


def returns_between(closing: Floats) -> Floats:
    """Return simple returns between closings on the last axis, 0 from a ruined account: (..., days)."""
    before = closing[..., :-1]
    return np.asarray(np.diff(closing, axis=-1) / np.where(before > 0, before, np.inf))


def daily_returns(known_at: Times, equity: Floats, start: float) -> Floats:
    """Return simple returns per trading day (17:00 to 17:00 New York) from equity at bar closes: (days,)."""
    return returns_between(np.r_[start, equity[day_ends(known_at)[0]]])


def sharpe(daily: Floats) -> float | None:
    """Return the yearly Sharpe ratio (no risk-free rate), None where it is not defined."""
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else 0.0
    return float(daily.mean() / spread * np.sqrt(TRADING_DAYS)) if spread > 0 else None


def sortino(daily: Floats) -> float | None:
    """Return the yearly Sortino ratio: mean over the root mean square of losses (target 0)."""
    below = float(np.sqrt((np.minimum(daily, 0) ** 2).mean())) if len(daily) > 1 else 0.0
    return float(daily.mean() / below * np.sqrt(TRADING_DAYS)) if below > 0 else None


def maximum_drawdown(equity: Floats, start: float) -> float:
    """Return the largest fall from a peak as a share of it, 0..1."""
    path = np.r_[start, equity]
    return float((1 - path / np.maximum.accumulate(path)).max())


def curve_metrics(
    known_at: Times, equity: Floats, start: float, last: NDArray[np.int64] | None = None
) -> dict[str, float | None]:
    """Return return, CAGR, Sharpe, Sortino, Calmar and maximum drawdown of equity at bar closes: all (bars,).

    `last`: (days,) of `day_ends`, for those who have it already.
    """
    ends = day_ends(known_at)[0] if last is None else last
    daily, total = returns_between(np.r_[start, equity[ends]]), float(equity[-1] / start - 1)
    years = float((known_at[-1] - known_at[0]) / YEAR)
    cagr = float((1 + total) ** (1 / years) - 1) if years > 1 / 52 and total > -1 else None
    drawdown = maximum_drawdown(equity, start)
    return {
        "return": total,
        "cagr": cagr,
        "sharpe": sharpe(daily),
        "sortino": sortino(daily),
        "calmar": cagr / drawdown if cagr is not None and drawdown > 0 else None,
        "max_drawdown": drawdown,
    }


def trade_metrics(trades: pd.DataFrame, bars: int) -> dict[str, float | None]:
    """Return counts and averages over the trades; money in the account's currency, `exposure` as a share of `bars`."""
    pnl = trades["pnl"].to_numpy(dtype=np.float64)
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    held = float(np.maximum(trades["bars_held"].to_numpy(), 1).sum())

    def mean(values: Floats) -> float | None:
        return float(values.mean()) if len(values) else None

    return {
        "trades": float(len(trades)),
        "win_rate": len(wins) / len(pnl) if len(pnl) else None,
        "profit_factor": float(wins.sum() / -losses.sum()) if len(losses) else None,
        "expectancy": mean(pnl),
        "average_win": mean(wins),
        "average_loss": mean(losses),
        "exposure": min(1.0, held / bars),
    }


def random_direction_p(gross: Floats, draws: int, seed: int) -> float | None:
    """Return how often the same trades with coin-flip directions earn at least as much before costs (one-sided p).

    `gross`: (trades,) what each earned before costs. Costs are the same either way and cancel; None without trades.
    """
    if not len(gross):
        return None
    rng, total, better = np.random.default_rng(seed), float(gross.sum()), 0
    for first in range(0, draws, _FLIPS_AT_ONCE):
        count = min(_FLIPS_AT_ONCE, draws - first)
        packed = np.frombuffer(rng.bytes(count * -(-len(gross) // 8)), dtype=np.uint8).reshape(count, -1)
        heads = np.unpackbits(packed, axis=1, count=len(gross)) @ gross  # (count,)
        better += int((2 * heads - total >= total).sum())
    return (1 + better) / (1 + draws)
