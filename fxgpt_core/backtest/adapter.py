"""`run_backtest`: forecasts and candles in, `BacktestResult` out (SPEC 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book, Leg, make_book
from fxgpt_core.backtest.charges import as_mid, charges
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.conversion import RateSource
from fxgpt_core.backtest.engine import Simulation, engine
from fxgpt_core.backtest.intervals import bootstrap_intervals
from fxgpt_core.backtest.metrics import curve_metrics, random_direction_p, trade_metrics
from fxgpt_core.backtest.orders import limited_entries, orders_and_fills
from fxgpt_core.backtest.result import BacktestResult, Status
from fxgpt_core.backtest.signals import make_signals
from fxgpt_core.backtest.trades import trades_frame
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instrument_config import InstrumentsConfig, shipped_instruments
from fxgpt_core.market.instruments import instrument
from fxgpt_core.market.market_hours import MarketHours, market_hours
from fxgpt_core.store.asset_config import Costs


def no_rates(symbol: str) -> Candles | None:
    """Know no pair but the traded one."""
    return None


@dataclass(frozen=True)
class Broker:
    """What is the same for every pair of an account: instruments, holidays, and where conversion rates come from."""

    instruments: InstrumentsConfig
    hours: MarketHours
    rates: RateSource = no_rates

    @classmethod
    def shipped(cls, rates: RateSource = no_rates) -> Broker:
        """Return the broker of the configuration that ships with the product."""
        return cls(shipped_instruments(), market_hours(), rates)


def run_backtest(
    candles: Candles,
    forecast: Forecast,
    config: BacktestConfig,
    costs: Costs,
    *,
    broker: Broker | None = None,
    seed: int = 0,
) -> BacktestResult:
    """Trade calibrated out-of-sample forecasts on the bars they were made from and account for every cost.

    The account starts with `initial_cash` in `account_currency`; profits of a pair quoted in another currency are
    converted at the rate known at the time, from the bars that `broker.rates` gives. `seed` steers the bootstrap.
    Forecasts without direction trade nothing and give the status "n/a: no direction".

    Raises DataError when the forecasts do not belong to these bars, when none of them is calibrated, or when a pair
    that converts profits is missing; BadInputError when the engine `backtesting` cannot model what is asked.
    """
    at = broker or Broker.shipped()
    leg = prepare(candles, forecast, config, costs, at)
    return simulated(make_book([leg], config, at.rates, at.hours), [forecast], config, [costs], seed)


def prepare(candles: Candles, forecast: Forecast, config: BacktestConfig, costs: Costs, broker: Broker) -> Leg:
    """Return one pair of a book: signals of `forecast` and the costs of trading them."""
    pair = instrument(candles.symbol, broker.instruments)
    charge = charges(candles, pair, costs, broker.instruments, broker.hours)
    mid = as_mid(candles, charge.half)
    round_trip = 2 * (charge.half + charge.slip) / mid.close + 2e-6 * costs.commission_per_million
    signals = make_signals(mid, forecast, config, round_trip, hours=broker.hours)
    rows = slice(signals.first, signals.first + len(signals.candles))
    return Leg(pair, signals, charge.take(rows), costs.commission_per_million)


def simulated(
    book: Book, forecasts: Sequence[Forecast], config: BacktestConfig, costs: Sequence[Costs], seed: int
) -> BacktestResult:
    """Return what the book's pairs earn on its account; `forecasts` and `costs` are those of its legs."""
    legs = book.parts
    directional = any(leg.signals.directional for leg in legs)
    if any(leg.signals.direction.any() for leg in legs):
        simulation = engine(config.engine).simulate(book)
    else:
        simulation = Simulation(np.zeros(0, dtype=layout.TRADE), np.full(len(book.times), book.cash))
    trades = trades_frame(simulation, book)
    status: Status = "traded" if len(trades) else "no trades" if directional else "n/a: no direction"
    orders, fills = orders_and_fills(trades, limited_entries(simulation, book))
    return BacktestResult(
        symbol="+".join(leg.pair.symbol for leg in legs),
        family="+".join(sorted({forecast.family for forecast in forecasts})),
        horizon=legs[0].signals.horizon,
        engine=config.engine,
        currency=config.account_currency,
        status=status,
        trades=trades,
        orders=orders,
        fills=fills,
        known_at=book.closes,
        equity=simulation.equity,
        path=simulation.path,
        initial_cash=book.cash,
        metrics=_metrics(simulation, trades, book, config, seed),
        intervals=bootstrap_intervals(
            book.closes,
            simulation.equity,
            book.cash,
            trades,
            config.bootstrap_draws,
            config.bootstrap_block_days,
            config.confidence_level,
            seed,
        ),
        costs=_costs(trades, book, costs),
        refused={
            "margin": simulation.refused,
            "too_small": simulation.too_small,
            "late": simulation.late,
            **_by_limits(simulation),
        },
        rows=sum(leg.signals.rows for leg in legs),
        uncalibrated=sum(leg.signals.uncalibrated for leg in legs),
    )


def _by_limits(simulation: Simulation) -> dict[str, int]:
    """Return how many entries each of a portfolio's limits refused."""
    causes = simulation.limited["cause"][simulation.limited["units"] == 0]
    limits = range(layout.BY_POSITIONS, layout.BY_TIME)
    return {layout.CAUSES[cause]: count for cause in limits if (count := int((causes == cause).sum()))}


def _costs(trades: pd.DataFrame, book: Book, costs: Sequence[Costs]) -> dict[str, float]:
    paid = {
        "spread_paid": float(trades["spread_cost"].sum()),
        "slippage_paid": float(trades["slippage_cost"].sum()),
        "commission_paid": float(trades["commission"].sum()),
        "swap_paid": float(-trades["swap"].sum()),
    }
    total = sum(paid.values())
    charged = {} if len(costs) > 1 else {
        "spread_pips": costs[0].spread_pips,
        "slippage_pips": costs[0].slippage_pips,
        "commission_per_million": costs[0].commission_per_million,
    }  # fmt: skip
    return {**paid, "total_paid": total, "share_of_cash": total / book.cash, **charged}


def _metrics(
    simulation: Simulation, trades: pd.DataFrame, book: Book, config: BacktestConfig, seed: int
) -> dict[str, float | None]:
    hold = [float(leg.signals.candles.close[-1] / leg.signals.candles.open[0] - 1) for leg in book.parts]
    gross = trades["gross_pnl"].to_numpy(dtype=np.float64)
    return {
        **curve_metrics(book.closes, simulation.equity, book.cash),
        **trade_metrics(trades, len(book.times)),
        "gross_return": float(gross.sum() / book.cash),
        "buy_and_hold": float(np.mean(hold)),
        "random_direction_p": random_direction_p(gross, config.bootstrap_draws, seed),
    }


def chart(candles: Candles, forecast: Forecast, config: BacktestConfig, costs: Costs, page: Path) -> pd.Series[Any]:
    """Write backtesting.py's interactive chart of the same signals to `page` and return its own statistics.

    Within its model: the spread in pips at all hours, no swap, no slippage by volatility, an account in the pair's
    quote currency that starts with `initial_cash` units of the base currency. Its figures therefore differ from the
    ledger's; the trades are the same where these costs are. The page opens offline.

    Raises DataError as `run_backtest`, and when there is nothing to draw.
    """
    from fxgpt_core.backtest.backtesting_py import BacktestingPy

    broker = Broker.shipped()
    pair = instrument(candles.symbol, broker.instruments)
    slippage = costs.slippage_pips if config.take_profit is None else 0.0
    plain = costs.model_copy(
        update={"spread": "constant", "swap": False, "slippage_volatility": 0.0, "slippage_pips": slippage}
    )
    leg = prepare(candles, forecast, config, plain, broker)
    if not leg.signals.direction.any():
        raise DataError(f"The forecasts of {forecast.family} for {candles.symbol} trade nothing: there is no chart.")
    cash = config.initial_cash * float(leg.signals.candles.open[0])
    account = config.model_copy(update={"account_currency": pair.quote, "initial_cash": cash})
    return BacktestingPy().report(make_book([leg], account, broker.rates, broker.hours), page)
