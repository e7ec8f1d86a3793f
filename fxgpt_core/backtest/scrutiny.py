"""Everything that a backtest is held against, in one call: chance, rules without a model, and where it earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fxgpt_core.backtest.adapter import Broker, prepare
from fxgpt_core.backtest.book import Book, make_book
from fxgpt_core.backtest.breakdown import Group, breakdowns, monthly_returns, monthly_trades
from fxgpt_core.backtest.comparisons import Comparison, comparisons
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.random_entries import RandomEntries, random_entries
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.asset_config import Costs

RANDOM_DRAWS = 200
"""Random strategies behind a p-value: its smallest is 0.5 %, and five years of hours take a second or two."""


@dataclass(frozen=True)
class Scrutiny:
    """`random`: None where nothing was traded; `groups`: label kind -> groups; `months`: `YYYY-MM` -> return."""

    random: RandomEntries | None
    rules: list[Comparison]
    groups: dict[str, list[Group]]
    months: dict[str, float]
    month_trades: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "random_entries": None if self.random is None else self.random.to_dict(),
            "comparisons": [rule.to_dict() for rule in self.rules],
            "groups": {by: [group.to_dict() for group in found] for by, found in self.groups.items()},
            "months": self.months,
            "month_trades": self.month_trades,
        }


def scrutinise(
    result: BacktestResult,
    candles: Candles,
    forecast: Forecast,
    config: BacktestConfig,
    costs: Costs,
    *,
    broker: Broker,
    regimes: Labels | None = None,
    draws: int = RANDOM_DRAWS,
    seed: int = 0,
) -> Scrutiny:
    """Hold `result`, which `run_backtest` made of the same arguments, against chance and rules without a model."""
    traded = len(result.trades) > 0
    book = book_of(candles, forecast, config, costs, broker) if traded else None
    return Scrutiny(
        random=None if book is None else random_entries(book, result, config, draws, seed),
        rules=[] if book is None else comparisons(book, result),
        groups=breakdowns(result.trades, regimes),
        months=monthly_returns(result),
        month_trades=monthly_trades(result.trades),
    )


def book_of(candles: Candles, forecast: Forecast, config: BacktestConfig, costs: Costs, broker: Broker) -> Book:
    """Return the book that `run_backtest` simulates."""
    leg = prepare(candles, forecast, config, costs, broker)
    return make_book([leg], config, broker.rates, broker.hours)
