"""`sweep`: many configurations on one set of forecasts, figures only.

It goes the way of `run_backtest` on the ledger, but computes once what the configurations share, writes no tables, and
leaves out everything that draws random numbers. Whoever picks the best of a sweep has tried them all, so each is
counted as a trial before its figures are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.adapter import Broker
from fxgpt_core.backtest.book import Book, Leg, make_book, renewed
from fxgpt_core.backtest.charges import as_mid, charges
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.engine import Simulation
from fxgpt_core.backtest.ledger import Ledger
from fxgpt_core.backtest.luck import forecast_hash, trial_from
from fxgpt_core.backtest.metrics import curve_metrics, day_ends, returns_between, trade_metrics
from fxgpt_core.backtest.signals import Shared, make_signals
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import instrument
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.clock import Clock
from fxgpt_core.store.database import Database
from fxgpt_core.store.trials import Trial, count_trials

Times = NDArray[np.datetime64]
_KINDS = ("spread", "slippage", "commission")
_COUNTED_AT_ONCE = 50
"""Configurations between two writes to the database; their days are held in memory until then."""


def sweep(
    candles: Candles,
    forecast: Forecast,
    configurations: Sequence[BacktestConfig],
    costs: Costs,
    *,
    database: Database,
    clock: Clock,
    recipe: str | None = None,
    broker: Broker | None = None,
    threads: int = 1,
) -> pd.DataFrame:
    """Return the figures of many configurations: one row each, in their order. Each is counted in `database`.

    Columns: `status`; the metrics of `run_backtest` but for those of chance (`random_direction_p`, intervals); costs
    paid by kind; `refused_margin`, `refused_too_small`, `refused_late`. Equal to `run_backtest` on each (but for
    rounding). Memory does not grow with the number of configurations; `threads` share the compiled loop, which needs
    no interpreter lock. `recipe`: the hash of how the forecasts were made; of the forecasts themselves by default. A
    sweep that is stopped has counted what it computed, but for the last few.

    Raises as `run_backtest`, and BadInputError for an engine other than the ledger or less than one thread.
    """
    others = {chosen.engine for chosen in configurations} - {"ledger"}
    if others or threads < 1:
        raise BadInputError(
            f"A sweep runs on the ledger with at least one thread; asked for {', '.join(others) or 'the ledger'} and "
            f"{threads} threads."
        )
    prepared = _Prepared(candles, forecast, costs, broker or Broker.shipped(), recipe)
    books = [prepared.base(chosen) for chosen in configurations]  # makes what is shared before threads read it
    rows: list[dict[str, str | float | None]] = []
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(configurations), _COUNTED_AT_ONCE):
            some = slice(first, first + _COUNTED_AT_ONCE)
            made = list(pool.map(prepared.figures, configurations[some], books[some]))
            count_trials(database, [trial for _, trial in made], clock.now())
            rows += [row for row, _ in made]
    return pd.DataFrame(rows)


class _Prepared:
    """Charges, mid prices and books without signals that configurations share."""

    def __init__(self, candles: Candles, forecast: Forecast, costs: Costs, broker: Broker, recipe: str | None) -> None:
        self.who = (candles.symbol, forecast.family, recipe or forecast_hash(forecast))
        self.forecast, self.costs, self.broker, self.shared = forecast, costs, broker, Shared()
        self.pair = instrument(candles.symbol, broker.instruments)
        self.charge = charges(candles, self.pair, costs, broker.instruments, broker.hours)
        self.mid = as_mid(candles, self.charge.half)
        spread = 2 * (self.charge.half + self.charge.slip) / self.mid.close
        self.round_trip = spread + 2e-6 * costs.commission_per_million
        self.books: dict[tuple[int, str], Book] = {}

    def leg(self, config: BacktestConfig) -> Leg:
        signals = make_signals(self.mid, self.forecast, config, self.round_trip, self.shared, self.broker.hours)
        rows = slice(signals.first, signals.first + len(signals.candles))
        return Leg(self.pair, signals, self.charge.take(rows), self.costs.commission_per_million)

    def base(self, config: BacktestConfig) -> Book | None:
        """Return the shared book of a horizon and currency; None where nothing is traded."""
        key = (config.horizon_of(self.forecast.horizons), config.account_currency)
        if key not in self.books:
            leg = self.leg(config)
            if not leg.signals.direction.any():
                return None
            book = make_book([leg], config, self.broker.rates, self.broker.hours)
            self.books[key] = book
        return self.books[key]

    def days(self, known_at: Times) -> tuple[NDArray[np.int64], Times]:
        """Return the ends of trading days among these closes, and their dates; computed once per horizon."""
        return cast(
            tuple[NDArray[np.int64], Times], self.shared.once(("days", len(known_at)), lambda: day_ends(known_at))
        )

    def figures(self, config: BacktestConfig, book: Book | None) -> tuple[dict[str, str | float | None], Trial]:
        """Return one row (status, metrics, costs and refusals), and the trial to count."""
        leg, cash = self.leg(config), config.initial_cash
        known_at = leg.signals.candles.known_at
        last, days = self.days(known_at)
        if book is None or not leg.signals.direction.any():
            made = Simulation(np.zeros(0, dtype=layout.TRADE), np.full(len(known_at), cash))
        else:
            made = Ledger().simulate(renewed(book, leg, config))
        daily = returns_between(np.r_[cash, made.equity[last]])
        trial = trial_from(self.who, config, known_at, days, daily, len(made.trades))
        return _row(made, leg, cash, last), trial


def _row(
    simulation: Simulation, leg: Leg, cash: float, last: NDArray[np.int64]
) -> dict[str, str | float | None]:  # fmt: skip
    trades, bars = simulation.trades, leg.signals.candles
    paid = {kind: float(trades[kind].sum()) for kind in _KINDS} | {"swap": float(-trades["swap"].sum())}
    held = pd.DataFrame({"pnl": trades["pnl"], "bars_held": trades["exit_bar"] - trades["entry_bar"]})
    return {
        "status": "traded" if len(trades) else "no trades" if leg.signals.directional else "n/a: no direction",
        **curve_metrics(bars.known_at, simulation.equity, cash, last),
        **trade_metrics(held, len(bars)),
        "gross_return": float(trades["gross"].sum() / cash),
        "buy_and_hold": float(bars.close[-1] / bars.open[0] - 1),
        **{f"{kind}_paid": value for kind, value in paid.items()},
        "refused_margin": float(simulation.refused),
        "refused_too_small": float(simulation.too_small),
        "refused_late": float(simulation.late),
    }
