"""Several pairs on one capital."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import FREE, broker, candles_of, config, forecast_with, random_case

FIXED = {"method": "fixed", "lots": 0.1}


def test_two_pairs_earn_together_what_each_earns_alone_at_fixed_sizes() -> None:
    euro, yen = random_case(1), random_case(2, symbol="USDJPY", price=145.0)
    chosen = config(BacktestConfig(), history_rows=10, sizing=FIXED)
    both = run_portfolio([(*euro, Costs()), (*yen, Costs(spread_pips=1.5))], chosen)
    alone = [run_backtest(*euro, chosen, Costs()), run_backtest(*yen, chosen, Costs(spread_pips=1.5))]
    assert both.symbol == "EURUSD+USDJPY"
    for result in alone:
        mine = both.trades[both.trades.symbol == result.symbol].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, result.trades.sort_values("entry_time", ignore_index=True))
    earned = sum(result.equity[-1] - result.initial_cash for result in alone)
    assert both.equity[-1] == pytest.approx(both.initial_cash + earned)
    assert both.path is not None
    gross, spread, slippage, commission, swap = both.path[:, 1:].T
    np.testing.assert_allclose(both.equity, both.initial_cash + gross - spread - slippage - commission + swap)


def test_the_second_of_two_pairs_gets_what_margin_the_first_leaves() -> None:
    """1000 USD, leverage 10, all of it usable: seven times equity for the first leaves three for the second."""
    euro, pound = (candles_of([[price] * 4] * 8, symbol) for symbol, price in (("EURUSD", 1.0), ("GBPUSD", 1.0)))
    parts = [(c, forecast_with([0.6, 0.8], c.known_at[:2], symbol=c.symbol), FREE) for c in (euro, pound)]
    chosen = config(size_fraction=7, leverage=10, margin_use=1.0, initial_cash=1000)
    trades = run_portfolio(parts, chosen, broker=broker()).trades
    assert dict(zip(trades.symbol, trades.units, strict=True)) == {"EURUSD": 7000, "GBPUSD": 3000}


def test_a_pair_without_a_bar_keeps_its_last_price_and_is_filled_at_its_next_open() -> None:
    euro = candles_of([[1.1] * 4] * 8)
    pound = candles_of([[1.3, 1.31, 1.29, 1.3]] * 8, "GBPUSD").take(np.array([0, 1, 4, 5, 6, 7]))
    parts = [(c, forecast_with([0.6, 0.8], c.known_at[:2], symbol=c.symbol), FREE) for c in (euro, pound)]
    trades = run_portfolio(parts, config(sizing=FIXED), broker=broker()).trades.set_index("symbol")
    assert trades.entry_time["EURUSD"] == pd.Timestamp("2024-01-09 02:00", tz="UTC")
    assert trades.entry_time["GBPUSD"] == pd.Timestamp("2024-01-09 04:00", tz="UTC")
    assert trades.exit_time["GBPUSD"] == pd.Timestamp("2024-01-09 06:00", tz="UTC")  # two of its own bars


def test_a_portfolio_that_cannot_be_says_why() -> None:
    euro = random_case(1)
    with pytest.raises(BadInputError, match=r"each of its pairs once; given EURUSD, EURUSD"):
        run_portfolio([(*euro, FREE), (*euro, FREE)], BacktestConfig())
    pound = random_case(1, symbol="GBPUSD")
    with pytest.raises(BadInputError, match=r"several pairs on one capital"):
        run_portfolio([(*euro, FREE), (*pound, FREE)], config(BacktestConfig(), engine="backtesting", history_rows=1))
