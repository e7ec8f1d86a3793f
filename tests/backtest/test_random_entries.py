"""Random entries keep number, lengths, sides and costs of the strategy's trades, and throw only their times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.backtest import random_entries as module
from fxgpt_core.backtest.adapter import Broker, run_backtest
from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.engine import Simulation
from fxgpt_core.backtest.ledger import Ledger
from fxgpt_core.backtest.random_entries import RandomEntries, random_entries
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.backtest.scrutiny import book_of
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import FREE, broker, config, forecast_with, random_case

CHARGED = Costs(spread_pips=1.2, slippage_pips=0.1)


def run(
    seed: int,
    chosen: BacktestConfig,
    costs: Costs = CHARGED,
    draws: int = 40,
    bars: int = 500,
    at: Broker | None = None,
) -> tuple[BacktestResult, RandomEntries | None]:
    candles, forecast = random_case(seed, bars=bars)
    at = at or broker()
    book = book_of(candles, forecast, chosen, costs, at)
    result = run_backtest(candles, forecast, chosen, costs, broker=at)
    return result, random_entries(book, result, chosen, draws, seed)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000), weekend=st.booleans(), horizon=st.sampled_from(["1h", "4h"]),
    stop=st.sampled_from([None, 1.0]), quantile=st.sampled_from([0.5, 0.8]),
    method=st.sampled_from(["fixed", "percent", "inverse_volatility", "kelly"]),
)  # fmt: skip
def test_every_draw_has_the_strategys_trades_elsewhere(
    seed: int, weekend: bool, horizon: str, stop: float | None, quantile: float, method: str
) -> None:
    chosen = config(
        BacktestConfig(), history_rows=20, horizon=horizon, stop_loss=stop, confidence_quantile=quantile,
        exit_before_weekend=weekend, initial_cash=1e6, bootstrap_draws=100,
        sizing={"method": method, "lots": 0.05, "kelly_fraction": 0.01},
    )  # fmt: skip
    seen: list[Simulation] = []

    class Watched(Ledger):
        def simulate(self, book: Book) -> Simulation:
            seen.append(super().simulate(book))
            return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Ledger", Watched)
        result, drawn = run(seed, chosen, draws=5)
    if drawn is None:
        assert result.trades.empty
        return
    lengths = np.sort(np.maximum(result.trades["bars_held"], 1))
    for outcome in seen:
        assert len(outcome.trades) == len(result.trades)
        np.testing.assert_array_equal(np.sort(outcome.trades["exit_bar"] - outcome.trades["entry_bar"]), lengths)
        assert (outcome.trades["direction"] > 0).sum() == (result.trades["direction"] > 0).sum()
        assert (outcome.trades["spread"] > 0).all()
    assert drawn.trades == len(result.trades)


def test_who_is_always_in_the_market_is_compared_with_who_is_too() -> None:
    chosen = config(BacktestConfig(), history_rows=1, confidence_quantile=0.0, horizon="1d", exit_before_weekend=False)
    result, drawn = run(1, chosen)
    assert result.metrics["exposure"] > 0.95  # type: ignore[operator]
    assert drawn is not None
    assert drawn.trades == pytest.approx(len(result.trades), rel=0.03)
    assert drawn.exposure == pytest.approx(result.metrics["exposure"], abs=0.03)


def test_foresight_beats_chance_and_coin_flips_do_not() -> None:
    candles = sample_candles()
    ahead = np.r_[np.log(candles.close[4:] / candles.close[:-4]), np.zeros(4)]
    sides = {"known": np.where(ahead > 0, 0.7, 0.3), "flips": np.random.default_rng(0).uniform(0.3, 0.7, len(candles))}
    p = {}
    for name, up in sides.items():
        forecast = forecast_with(up, candles.known_at, (60, 240, 1440))
        at, chosen = Broker.shipped(), BacktestConfig()
        result = run_backtest(candles, forecast, chosen, CHARGED, broker=at)
        drawn = random_entries(book_of(candles, forecast, chosen, CHARGED, at), result, chosen, 100, 0)
        assert drawn is not None
        p[name] = (drawn.p_return, drawn.p_sharpe)
    assert p["known"] == (1 / 101, 1 / 101)
    assert min(p["flips"]) > 0.02


def test_p_values_of_strategies_without_skill_are_spread_evenly() -> None:
    """Forty strategies of random forecasts: were costs or exposure unlike, their p would crowd at one end."""
    chosen = config(BacktestConfig(), history_rows=20, confidence_quantile=0.5, bootstrap_draws=100)
    p = np.array([run(seed, chosen, draws=39, bars=600)[1].p_return for seed in range(40)])  # type: ignore[union-attr]
    assert abs(p.mean() - 0.5) < 0.16  # 3.5 standard errors
    assert (p < 0.5).sum() > 8
    assert (p > 0.5).sum() > 8


def test_costs_lower_what_chance_earns_and_seeds_repeat() -> None:
    chosen = config(BacktestConfig(), history_rows=20, sizing={"method": "fixed", "lots": 0.05})
    runs = [run(4, chosen, costs)[1] for costs in (FREE, CHARGED, CHARGED)]
    free, charged, again = (found.returns for found in runs if found is not None)
    assert (charged < free).all()
    np.testing.assert_array_equal(charged, again)


def test_nothing_traded_has_no_chance_to_compare_with() -> None:
    candles, _ = random_case(1)
    silent = forecast_with(np.full(300, 0.5), candles.known_at[:300])
    result = run_backtest(candles, silent, BacktestConfig(), CHARGED, broker=broker())
    book = book_of(candles, silent, BacktestConfig(), CHARGED, broker())
    assert random_entries(book, result, BacktestConfig(), 10, 0) is None
    assert random_entries(book, replace(result), BacktestConfig(), 0, 0) is None
