"""Each audit passes a true backtest and finds the fault that is planted in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import Broker, prepare, run_backtest
from fxgpt_core.backtest.audit import (
    against_their_forecast,
    before_their_forecast,
    over_the_weekend,
    unreconciled,
)
from fxgpt_core.backtest.audit_costs import Market, charged_otherwise
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import HOUR, broker, config, costs, random_case

CHARGED = costs(
    spread="sessions",
    spread_pips=1.0,
    commission_per_million=30,
    slippage_pips=0.1,
    slippage_volatility=0.02,
    swap=True,
)
DAY = pd.Timedelta(days=1)


CANDLES, _ = random_case(7)
BROKER = Broker.shipped()
MARKET = Market.of(CANDLES, CHARGED, "USD", BROKER)


@pytest.fixture(scope="module")
def case() -> tuple[BacktestResult, Forecast]:
    candles, forecast = random_case(7)
    chosen = config(BacktestConfig(), history_rows=10, stop_loss=1.5, horizon="4h")
    result = run_backtest(candles, forecast, chosen, CHARGED)
    assert len(result.trades) > 20
    return result, forecast


def test_a_true_backtest_passes(case: tuple[BacktestResult, Forecast]) -> None:
    result, forecast = case
    assert before_their_forecast(result.orders, result.fills, forecast) == []
    assert against_their_forecast(result.orders, forecast, 240, CANDLES) == []
    assert over_the_weekend(result.trades) == []
    assert charged_otherwise(result.trades, result.orders, result.fills, MARKET) == []
    assert unreconciled(result.trades, result.orders, result.fills, result.summary()) == []


def test_an_entry_without_a_forecast_is_found(case: tuple[BacktestResult, Forecast]) -> None:
    result, forecast = case
    entry = result.orders[result.orders.purpose == "entry"]
    moved = result.orders.copy()
    moved.loc[entry.index[3], "decided_at"] -= pd.Timedelta(minutes=30)
    (said,) = before_their_forecast(moved, result.fills, forecast)
    assert said.startswith("1 entries were decided when no calibrated forecast was (first ")
    raw = replace(forecast, calibration_version=np.full(len(forecast), "", dtype=object))
    (said,) = before_their_forecast(result.orders, result.fills, raw)
    assert said.startswith(f"{len(entry)} entries were decided when no calibrated forecast")


def test_forecasts_traded_from_one_row_later_are_found(case: tuple[BacktestResult, Forecast]) -> None:
    """Times are right, but the content is of the row that comes next."""
    _, forecast = case
    later = replace(forecast, quantiles=np.roll(forecast.quantiles, -1, 0), mean=np.roll(forecast.mean, -1, 0))
    fault = run_backtest(CANDLES, later, config(BacktestConfig(), history_rows=10, horizon="4h"), CHARGED)
    assert before_their_forecast(fault.orders, fault.fills, forecast) == []
    (said,) = against_their_forecast(fault.orders, forecast, 240, CANDLES)
    assert "entries go against the side that their forecast says (first " in said


def test_flipped_orders_and_other_prices_are_found(case: tuple[BacktestResult, Forecast]) -> None:
    result, forecast = case
    entries = (result.orders.purpose == "entry").sum()
    flipped = result.orders.assign(direction=-result.orders.direction)
    (said,) = against_their_forecast(flipped, forecast, 240, CANDLES)
    assert said.startswith(f"{entries} entries go against the side")
    shifted = result.orders.copy()
    shifted.loc[shifted.index[shifted.purpose == "entry"][2], "signal_price"] *= 1 + 1e-8
    (said,) = against_their_forecast(shifted, forecast, 240, CANDLES)
    assert said.startswith("1 entries saw another price than the close at their decision")


def test_a_model_that_saw_the_decision_is_found(case: tuple[BacktestResult, Forecast]) -> None:
    result, forecast = case
    at = result.orders.decided_at.iloc[0].tz_localize(None).to_datetime64()
    until = np.where(forecast.decided_at == at, at, forecast.trained_until)
    (said,) = before_their_forecast(result.orders, result.fills, replace(forecast, trained_until=until))
    assert said.startswith("1 entries rest on a model that was trained on their own time")


def test_a_fill_before_its_decision_is_found(case: tuple[BacktestResult, Forecast]) -> None:
    result, forecast = case
    fills = result.fills.copy()
    fills.loc[5, "filled_at"] -= DAY * 30
    (said,) = before_their_forecast(result.orders, fills, forecast)
    assert said.startswith("1 fills happened before their order was decided")


def test_a_position_over_the_weekend_is_found(case: tuple[BacktestResult, Forecast]) -> None:
    trades = case[0].trades.copy()
    trades.loc[2, "exit_time"] = trades.loc[2, "entry_time"] + 7 * DAY
    (said,) = over_the_weekend(trades)
    assert said.startswith("1 positions were held over the weekend")


@pytest.mark.parametrize("kind", ["spread", "slippage", "commission"])
def test_a_fill_that_paid_something_else_is_found(case: tuple[BacktestResult, Forecast], kind: str) -> None:
    result, _ = case
    for factor in (0.0, 0.99999, -1.0, 2.0):
        fills = result.fills.copy()
        fills.loc[4, kind] *= factor
        (said,) = charged_otherwise(result.trades, result.orders, fills, MARKET)
        assert said.startswith(f"1 fills paid another {kind} than is configured (first ")


def test_prices_rates_and_times_of_fills_are_held_to_the_bars(case: tuple[BacktestResult, Forecast]) -> None:
    result, _ = case
    for name, words in (("price", "got a price that is not mid and costs"), ("rate", "were converted at another rate")):
        fills = result.fills.copy()
        fills.loc[4, name] *= 1.001
        (said,) = charged_otherwise(result.trades, result.orders, fills, MARKET)
        assert said.startswith(f"1 fills {words}")
    late = result.fills.copy()
    late.loc[4, "filled_at"] += pd.Timedelta(minutes=7)
    (said,) = charged_otherwise(result.trades, result.orders, late, MARKET)
    assert said.startswith("1 fills happened at no bar's time")


def audited(
    charged: Costs, configured: Costs, symbol: str = "EURUSD", account: str = "USD", **chosen: Any
) -> list[str]:
    """Trade with one set of costs and audit by another."""
    price = {"EURUSD": 1.1, "USDJPY": 150.0, "EURGBP": 0.85}[symbol]
    candles, forecast = random_case(7, symbol=symbol, price=price)
    pounds = random_case(9, symbol="GBPUSD", price=1.3)[0]
    rates = {"GBPUSD": replace(pounds, ts_utc=pounds.ts_utc - HOUR)}
    at = broker(rates, interest=BROKER.instruments.interest.model_dump())
    settings = config(BacktestConfig(), history_rows=10, horizon="1d", account_currency=account, **chosen)
    result = run_backtest(candles, forecast, settings, charged, broker=at)
    assert abs(result.trades["swap"]).sum() > 0 or not charged.swap
    market = Market.of(candles, configured, account, at)
    return charged_otherwise(result.trades, result.orders, result.fills, market)


def test_a_hundredth_of_the_costs_is_found() -> None:
    small = costs(spread="sessions", spread_pips=0.01, commission_per_million=0.3, slippage_pips=0.001,
                  slippage_volatility=0.0002, swap=True)  # fmt: skip
    found = audited(small, CHARGED)
    for kind in ("spread", "slippage", "commission"):
        assert any(f"paid another {kind} than is configured" in said for said in found)
    assert not any("swap" in said for said in found)


def test_swap_that_was_not_booked_is_found() -> None:
    (said,) = audited(CHARGED.model_copy(update={"swap": False}), CHARGED)
    assert "positions were booked another swap than their nights make (first " in said
    (said,) = audited(CHARGED, CHARGED.model_copy(update={"swap": False}))
    assert "positions were booked another swap" in said


@pytest.mark.parametrize(
    ("symbol", "account", "chosen"),
    [
        ("EURUSD", "USD", {"stop_loss": 1.0, "take_profit": 1.5}),
        ("EURUSD", "EUR", {"trailing_stop": 1.5}),
        ("USDJPY", "USD", {"exit_on_opposite": False}),
        ("EURGBP", "USD", {"stop_loss": 1.0, "exit_before_weekend": False}),
        ("EURUSD", "USD", {"size_fraction": 25.0, "leverage": 500.0, "exit_before_weekend": False}),
    ],
)
def test_what_the_ledger_charges_is_what_is_owed(symbol: str, account: str, chosen: dict[str, Any]) -> None:
    assert audited(CHARGED, CHARGED, symbol, account, **chosen) == []


def test_a_portfolio_is_held_to_the_nights_of_all_its_bars() -> None:
    """Pounds lack every tenth bar and stop early: nights fall on bars that only euros have; the account is ruined."""
    euros, forecast = random_case(16, bars=300)
    pounds, others = random_case(116, bars=250, symbol="GBPUSD", price=1.3)
    kept = pounds.take(np.arange(250) % 10 != 0)
    parts = [
        (euros, forecast, CHARGED),
        (kept, others.take(np.isin(others.decided_at, kept.known_at)), CHARGED),
    ]
    earlier = {"EURUSD": replace(euros, ts_utc=euros.ts_utc - HOUR)}  # so that a rate is known at the first open
    at = broker(earlier, interest=BROKER.instruments.interest.model_dump())
    reasons: set[str] = set()
    for size, stop_out in ((1.0, 0.5), (100.0, 0.5), (100.0, 0.0)):
        settings = config(BacktestConfig(), history_rows=1, confidence_quantile=0.0, horizon="1d",
                          exit_before_weekend=False, size_fraction=size, leverage=500.0, stop_out=stop_out,
                          account_currency="EUR")  # fmt: skip
        result = run_portfolio(parts, settings, broker=at)
        grid = np.unique(np.concatenate([prepare(*part[:2], settings, CHARGED, at).signals.candles.ts_utc
                                         for part in parts]))  # fmt: skip
        for candles, _, charged in parts:
            made = result.trades[result.trades["symbol"] == candles.symbol]
            market = Market.of(candles, charged, "EUR", at)
            assert charged_otherwise(made, result.orders, result.fills, market, grid) == []
            fault = charged_otherwise(made.assign(swap=made["swap"] * 0.99), result.orders, result.fills, market, grid)
            assert "positions were booked another swap" in fault[0]
        reasons |= set(result.trades["reason"])
    assert {"end", "ruin", "stop_out"} <= reasons


def test_money_that_does_not_add_up_is_found(case: tuple[BacktestResult, Forecast]) -> None:
    result, _ = case
    told = result.summary()
    tables = result.trades, result.orders, result.fills
    pocketed = result.trades.copy()
    pocketed.loc[1, "pnl"] += 5
    found = unreconciled(pocketed, *tables[1:], told)
    assert found[0].startswith("1 trades earned other than gross less costs")
    assert found[1].startswith("The final equity is")
    moved = result.fills.copy()
    moved.loc[1, "mid"] += 0.01
    assert unreconciled(result.trades, result.orders, moved, told)[0].startswith("The gross profit of the fills is")
    kept = result.fills.copy()
    kept.loc[2, "commission"] = 0
    assert unreconciled(result.trades, result.orders, kept, told)[0].startswith("The commission of the fills is")
    richer = {**told, "metrics": {**told["metrics"], "return": told["metrics"]["return"] + 0.01}}
    assert unreconciled(*tables, richer)[0].startswith("The final equity is")
    assert unreconciled(result.trades, result.orders, result.fills.iloc[:-1], told)[0].endswith("exits were filled.")
    cheaper = {**told, "costs": {**told["costs"], "spread_paid": 0.0}}
    assert unreconciled(*tables, cheaper)[0].startswith("The spread of the trades is")
    unswapped = {**told, "costs": {**told["costs"], "swap_paid": 0.0}}
    assert unreconciled(*tables, unswapped)[0].startswith("The swap of the trades is")
