"""How fast a backtest is: the ledger and the adapter against bare backtesting.py in the same run, on hourly bars.

    python benchmarks/backtests.py [--years 5] [--configurations 500] [--threads 2]

Times are of the wall and, in brackets, of the processor: those count on a machine that is busy.

Forecasts are ready, as they are in the product; compiled code is warm. Bare backtesting.py runs the smallest strategy
that trades the same directions with the same stops: fixed sizes, no costs, nothing but `buy`, `sell` and `close`.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fxgpt_core.backtest.adapter import Broker, no_rates, prepare, run_backtest
from fxgpt_core.backtest.backtesting_py import BacktestingPy
from fxgpt_core.backtest.book import Book, make_book
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.ledger import Ledger
from fxgpt_core.backtest.random_entries import random_entries
from fxgpt_core.backtest.sweep import sweep
from fxgpt_core.market.calendar import bar_opens
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from tests.backtest.cases import candles_of, forecast_with

PLAIN_COSTS = Costs(spread_pips=1.0, spread="constant", swap=False)


def hourly(years: int, seed: int = 0) -> Candles:
    """Return a random walk of hourly bars in market hours."""
    opens = bar_opens(np.datetime64("2019-01-01", "ns"), np.datetime64(f"{2019 + years}-01-01", "ns"), "1h")
    rng, count = np.random.default_rng(seed), len(opens)
    close = 1.1 * np.exp(np.cumsum(rng.standard_normal(count) * 0.0008))
    start = np.r_[1.1, close[:-1]]
    reach = np.abs(rng.standard_normal((2, count))) * 0.0006
    high, low = np.maximum(start, close) * (1 + reach[0]), np.minimum(start, close) * (1 - reach[1])
    return candles_of(np.stack([start, high, low, close], axis=1), ts_utc=opens)


def best(work: Callable[[], Any], times: int = 5) -> tuple[float, float]:
    """Return the shortest of some timings in seconds, of the wall and of the processor."""
    taken = []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - began, time.process_time() - worked))
    return min(wall for wall, _ in taken), min(own for _, own in taken)


def grid(base: BacktestConfig, count: int) -> list[BacktestConfig]:
    """Return so many configurations: thresholds, stops, horizons and holding times."""
    thresholds = np.linspace(0.5, 0.9, -(-count // 36))
    values = itertools.product(thresholds, (1.0, 1.5, 2.0, 3.0), ("1h", "4h", "1d"), (None, "6h", "1d"))
    return [
        base.model_copy(
            update={"confidence_quantile": float(q), "stop_loss": stop, "horizon": horizon, "max_holding": longest}
        )
        for q, stop, horizon, longest in itertools.islice(values, count)
    ]


def bare(book: Book) -> Callable[[], Any]:
    """Return a run of backtesting.py with the smallest strategy on the same bars and directions."""
    from backtesting import Strategy

    from fxgpt_core.backtest.replay_strategy import Backtest  # switches its progress bar off

    bars = book.bars[:, 0]
    frame = pd.DataFrame(
        {name.capitalize(): bars[name] for name in ("open", "high", "low", "close")}, index=pd.DatetimeIndex(book.times)
    )
    stops = (bars["close"] * np.exp(-bars["direction"] * bars["stop"])).tolist()
    directions, hold = bars["direction"].tolist(), int(book.legs["hold"][0])

    class Smallest(Strategy):
        def init(self) -> None:
            self.bar, self.expires = 0, 0

        def next(self) -> None:
            self.bar += 1
            side = directions[self.bar]
            trades = self.trades
            if trades:
                if self.bar >= self.expires and not side:
                    trades[0].close()
                elif side and (side > 0) != trades[0].is_long:
                    trades[0].close()
                    (self.buy if side > 0 else self.sell)(size=1000, sl=stops[self.bar])
                    self.expires = self.bar + hold
            elif side:
                (self.buy if side > 0 else self.sell)(size=1000, sl=stops[self.bar])
                self.expires = self.bar + hold

    return lambda: Backtest(frame, Smallest, cash=10_000, margin=1 / 30).run()


@contextmanager
def counting() -> Iterator[Database]:
    """Give a database of its own in which trials are counted."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/fxgpt.db"
        upgrade(url)
        database = Database(url)
        yield database
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--configurations", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    candles = hourly(options.years)
    rng = np.random.default_rng(1)
    forecast = forecast_with(rng.uniform(0.4, 0.6, len(candles)), candles.known_at, (60, 240, 1440), std=0.0016)
    config, broker = BacktestConfig(stop_loss=2.0), Broker.shipped()
    legs = {name: prepare(candles, forecast, config, costs, broker) for name, costs in
            (("full", Costs(spread_pips=1.0)), ("plain", PLAIN_COSTS))}  # fmt: skip
    books = {name: make_book([leg], config, no_rates, broker.hours) for name, leg in legs.items()}
    trades = len(Ledger().simulate(books["full"]).trades)
    result = run_backtest(candles, forecast, config, Costs(spread_pips=1.0), broker=broker)
    figures = {
        "signals, costs and book": best(lambda: make_book(
            [prepare(candles, forecast, config, Costs(), broker)], config, no_rates, broker.hours)),
        "ledger alone": best(lambda: Ledger().simulate(books["full"]), 20),
        "whole configuration on the ledger, with bootstrap": best(
            lambda: run_backtest(candles, forecast, config, Costs(), broker=broker)),
        "200 random strategies of the same trades": best(
            lambda: random_entries(books["full"], result, config, 200, 0), 2),
        "adapter alone (backtesting.py)": best(lambda: BacktestingPy().simulate(books["plain"]), 3),
        "bare backtesting.py": best(bare(books["plain"]), 3),
    }  # fmt: skip
    print(f"{len(candles)} hourly bars, {len(forecast)} forecasts, {trades} trades, one core")
    for name, (seconds, own) in figures.items():
        print(f"  {name:52s} {seconds * 1000:9.1f} ms ({own * 1000:.1f})   {len(candles) / own:12,.0f} bars/s")
    configurations = grid(config, options.configurations)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for part in np.array_split(np.arange(options.configurations), 2):  # twice, to see whether memory grows on
        chosen = [configurations[number] for number in part]
        began, worked = time.perf_counter(), time.process_time()
        with counting() as database:
            sweep(candles, forecast, chosen, Costs(), database=database, clock=SystemClock(), broker=broker,
                  threads=options.threads)  # fmt: skip
        seconds, own = time.perf_counter() - began, time.process_time() - worked
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"  {len(chosen)} configurations, {options.threads} threads: {seconds:.1f} s ({own:.1f} of the processor), "
            f"memory grew by {grown:.0f} MB so far"
        )


if __name__ == "__main__":
    main()
