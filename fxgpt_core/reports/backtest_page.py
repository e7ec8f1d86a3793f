"""The page of one backtest: equity, single trades, costs, luck, months, where it earned; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports import backtest_plots as plots
from fxgpt_core.reports.pages import page_environment

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KINDS = ("spread", "slippage", "commission", "swap")
_FIGURES = {
    "return": ("return after costs", "signed", 2),
    "cagr": ("return a year", "signed", 2),
    "sharpe": ("Sharpe ratio", "number", 2),
    "sortino": ("Sortino ratio", "number", 2),
    "calmar": ("Calmar ratio", "number", 2),
    "max_drawdown": ("largest drawdown", "percent", 1),
    "trades": ("trades", "number", 0),
    "win_rate": ("share of trades won", "percent", 1),
    "profit_factor": ("profit factor", "number", 2),
    "expectancy": ("expectancy of a trade", "number", 2),
    "average_win": ("average win", "number", 2),
    "average_loss": ("average loss", "number", 2),
    "exposure": ("share of the time in the market", "percent", 0),
}
"""What is shown of `metrics`: its name, the filter that writes it, and its digits."""
_SHOWN_TRADES = 2
_PALEST, _DARKEST = 0.08, 0.55


@dataclass(frozen=True)
class BacktestInputs:
    """Everything the page shows. `label`: what people call the family; `document`: the stored backtest; `trades`:
    `backtest.trades.TRADE_COLUMNS`; `candles`, `forecast`: what they were made from; `luck`: as `Luck.to_dict`, None
    where nothing was traded; `sentences`: what it means; `costs`: what is charged, in words."""

    symbol: str
    label: str
    made_at: str
    document: Mapping[str, Any]
    trades: pd.DataFrame
    candles: Candles
    forecast: Forecast
    luck: Mapping[str, Any] | None
    sentences: Sequence[str]
    costs: str


def render_backtest(inputs: BacktestInputs) -> str:
    """Return the page as one HTML text without any outside reference or script."""
    document, traded = inputs.document, inputs.document["status"] == "traded"
    environment = page_environment()
    environment.filters.update(label=lambda text: str(text).replace("_", " ").replace("+", ", "))
    metrics = document["metrics"]
    chance = document["random_entries"] if traded else None
    return environment.get_template("backtest.html").render(
        page=inputs,
        b=document,
        traded=traded,
        horizon=horizon_name(document["horizon"]),
        equity=plots.equity_chart(document["curve"], document["initial_cash"]) if traded else "",
        figures=_figures(document, environment.filters) if traded else [],
        waterfall=plots.cost_waterfall(_steps(document), document["currency"]) if traded else "",
        chance=chance,
        chance_chart=plots.chance_chart(chance, metrics["return"], metrics["sharpe"]) if chance else "",
        rules=document["comparisons"],
        groups=document["groups"],
        months=_MONTHS,
        years=_years(document["months"]),
        month_trades=document["month_trades"],
        shown=_shown(inputs) if traded else [],
    )


def _figures(document: Mapping[str, Any], filters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return a row per figure: its name, its value and its interval, in words; blank where there is none."""
    rows = []
    for name, (said, kind, digits) in _FIGURES.items():
        value, interval = document["metrics"][name], document["intervals"].get(name)
        ends = "" if interval is None else " to ".join(filters[kind](end, digits) for end in interval)
        rows.append((said, filters[kind](value, digits), ends))
    return rows


def _steps(document: Mapping[str, Any]) -> list[tuple[str, float]]:
    gross = document["metrics"]["gross_return"] * document["initial_cash"]
    return [("gross", gross), *((kind, 0.0 - document["costs"][f"{kind}_paid"]) for kind in _KINDS)]


def _years(months: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a row per year: its months with a colour, None where there are none, and their product."""
    strongest = max((abs(value) for value in months.values()), default=0.0) or 1.0
    rows = []
    for year in sorted({name[:4] for name in months}):
        cells, whole = [], 1.0
        for month in range(1, 13):
            value = months.get(f"{year}-{month:02d}")
            whole *= 1 + (value or 0.0)
            cells.append(None if value is None else {"value": value, "colour": _colour(value, strongest)})
        rows.append({"year": year, "cells": cells, "total": whole - 1})
    return rows


def _colour(value: float, strongest: float) -> str:
    """Return blue for gains and red for losses, deeper the larger: both survive colour-blind eyes."""
    if value == 0:
        return "transparent"
    depth = _PALEST + (_DARKEST - _PALEST) * abs(value) / strongest
    return f"rgba(44, 95, 158, {depth:.2f})" if value > 0 else f"rgba(163, 58, 6, {depth:.2f})"


def _shown(inputs: BacktestInputs) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the worst, best and last trades with their charts, each trade once."""
    ordered, last = inputs.trades.sort_values("pnl", kind="stable"), inputs.trades.index[::-1]
    chosen: list[tuple[str, list[Any]]] = []
    used: set[Any] = set()
    for name, candidates in (("Worst", ordered.index), ("Best", ordered.index[::-1]), ("Last", last)):
        picked = [number for number in candidates if number not in used][:_SHOWN_TRADES]
        used.update(picked)
        if picked:
            chosen.append((name, picked))
    return [(name, [_trade(inputs, inputs.trades.loc[number]) for number in numbers]) for name, numbers in chosen]


def _trade(inputs: BacktestInputs, trade: pd.Series[Any]) -> dict[str, Any]:
    return {"trade": trade, "chart": plots.trade_chart(inputs.candles, inputs.forecast, trade)}
