"""Where a strategy earned and where it lost: its trades by regime, session and other labels, its months as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.market.sessions import session_label

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Group:
    """Trades that share a label; money in the account's currency, `costs` includes swap, `gross` - `costs` = `net`."""

    label: str
    trades: int
    wins: int
    gross: float
    costs: float
    net: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def by_label(trades: pd.DataFrame, labels: Sequence[str] | NDArray[Any]) -> list[Group]:
    """Return the trades by label, those with the most trades first; `labels`: (trades,)."""
    frame = trades[["gross_pnl", "pnl"]].assign(label=np.asarray(labels, dtype=object), won=trades["pnl"] > 0)
    found = frame.groupby("label").agg(
        trades=("pnl", "size"), wins=("won", "sum"), gross=("gross_pnl", "sum"), net=("pnl", "sum")
    )
    return [
        Group(str(label), int(row.trades), int(row.wins), float(row.gross), float(row.gross - row.net), float(row.net))
        for label, row in found.sort_values("trades", ascending=False, kind="stable").iterrows()
    ]


def breakdowns(trades: pd.DataFrame, regimes: Labels | None = None) -> dict[str, list[Group]]:
    """Return the trades by regime at the decision (where known), session at the fill, side and reason of the exit."""
    if trades.empty:
        return {}
    fills = trades["entry_time"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    labels: dict[str, Any] = {}
    if regimes is not None:
        labels["regime"] = _at(regimes, trades["decided_at"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))
    labels["session"] = session_label(fills)
    labels["side"] = np.where(trades["direction"] > 0, "long", "short")
    labels["exit"] = trades["reason"].to_numpy()
    return {by: by_label(trades, values) for by, values in labels.items()}


def monthly_returns(result: BacktestResult) -> dict[str, float]:
    """Return `YYYY-MM` -> simple return of the account from month's end to month's end, months of UTC closes."""
    month = (result.known_at - np.timedelta64(1, "ns")).astype("datetime64[M]")
    last = np.flatnonzero(np.r_[month[1:] != month[:-1], True])
    closing = np.r_[result.initial_cash, result.equity[last]]
    change = np.diff(closing) / np.where(closing[:-1] > 0, closing[:-1], np.inf)
    return {str(name): float(value) for name, value in zip(month[last], change, strict=True)}


def monthly_trades(trades: pd.DataFrame) -> dict[str, int]:
    """Return `YYYY-MM` -> how many trades ended in that month (UTC)."""
    if trades.empty:
        return {}
    months = trades["exit_time"].dt.strftime("%Y-%m")
    return {str(name): int(count) for name, count in months.value_counts().sort_index().items()}


def _at(labels: Labels, decided_at: Times) -> NDArray[np.str_]:
    """Return the labels of decisions that may repeat, as those of several pairs do."""
    unique, back = np.unique(decided_at, return_inverse=True)
    return np.asarray(labels.at(unique)[back])
