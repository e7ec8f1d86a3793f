"""`run_portfolio`: the forecasts of several pairs traded on one capital."""

from __future__ import annotations

from collections.abc import Sequence

from fxgpt_core.backtest.adapter import Broker, prepare, simulated
from fxgpt_core.backtest.book import Book, limited, make_book
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.asset_config import Costs


def run_portfolio(
    parts: Sequence[tuple[Candles, Forecast, Costs]],
    config: BacktestConfig,
    limits: PortfolioLimits | None = None,
    *,
    broker: Broker | None = None,
    seed: int = 0,
) -> BacktestResult:
    """Trade several pairs on one capital: sizes follow the common equity, margin and `limits`; the ledger only.

    `parts`: bars, forecasts and costs of each pair, with one base timeframe; where two enter at one close, the earlier
    comes first. What limits cut or refused stands in `orders` with the reason. The result's symbol joins the pairs;
    raises as `run_backtest`, and BadInputError for a pair that comes twice.
    """
    book = portfolio_book(parts, config, limits, broker or Broker.shipped())
    return simulated(book, [part[1] for part in parts], config, [part[2] for part in parts], seed)


def portfolio_book(
    parts: Sequence[tuple[Candles, Forecast, Costs]],
    config: BacktestConfig,
    limits: PortfolioLimits | None,
    broker: Broker,
) -> Book:
    """Return what `run_portfolio` simulates; raises as it does."""
    symbols = [candles.symbol for candles, _, _ in parts]
    if len(set(symbols)) != len(symbols) or not symbols:
        raise BadInputError(f"A portfolio needs each of its pairs once; given {', '.join(symbols) or 'none'}.")
    legs = [prepare(candles, forecast, config, costs, broker) for candles, forecast, costs in parts]
    book = make_book(legs, config, broker.rates, broker.hours)
    return book if limits is None else limited(book, limits, [candles for candles, _, _ in parts])
