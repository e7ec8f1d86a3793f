"""The page of the portfolio: one capital, all pairs; opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.reports.pages import page_environment
from fxgpt_core.reports.plots import line_chart

_POINTS = 1500


def render_portfolio(
    result: BacktestResult,
    families: Mapping[str, str],
    left_out: Mapping[str, str],
    pairs: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, Any],
    made_at: str,
) -> str:
    """Return the page as one HTML text without any outside reference.

    `families`: whose forecasts each pair is traded by; `pairs`: what each contributed; `left_out`: why others do not.
    """
    step = max(1, len(result.equity) // _POINTS)
    times, equity = result.known_at[::step], result.equity[::step]
    peak = np.maximum.accumulate(np.maximum(equity, result.initial_cash))
    charts = [
        line_chart({"equity": (times, equity)}, result.currency, "Equity at closes"),
        line_chart({"drawdown": (times, equity / peak - 1)}, "share of the peak", "Drawdown"),
    ]
    return page_environment().get_template("portfolio.html").render(
        result=result, families=families, left_out=left_out, pairs=pairs, limits=limits, charts=charts, made_at=made_at,
        months=_months(result),
    )  # fmt: skip


def _months(result: BacktestResult) -> dict[int, list[float | None]]:
    """Return the account's return by year and calendar month, None where there was none."""
    month = result.known_at.astype("datetime64[M]")
    last = np.flatnonzero(np.r_[month[1:] != month[:-1], True])
    closing = np.r_[result.initial_cash, result.equity[last]]
    table: dict[int, list[float | None]] = {}
    for when, before, after in zip(month[last], closing[:-1], closing[1:], strict=True):
        number = int(when.astype(np.int64))
        row = table.setdefault(1970 + number // 12, [None] * 12)
        row[number % 12] = float(after / before - 1) if before > 0 else None
    return table
