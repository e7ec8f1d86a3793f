"""Each audit passes a true backtest and finds the fault that is planted in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.audit import (
    against_their_forecast,
    before_their_forecast,
    over_the_weekend,
    unreconciled,
    without_costs,
)
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.forecast import Forecast
from tests.backtest.cases import config, costs, random_case

CHARGED = costs(
    spread="sessions", spread_pips=1.0, commission_per_million=30, slippage_pips=0.1, slippage_volatility=0.02
)
DAY = pd.Timedelta(days=1)


CANDLES, _ = random_case(7)


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
    assert without_costs(result.fills, CHARGED) == []
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


def test_costs_that_were_forgotten_are_found(case: tuple[BacktestResult, Forecast]) -> None:
    fills = case[0].fills
    for kind, words in (("spread", "paid no spread"), ("commission", "paid no commission")):
        fault = fills.copy()
        fault.loc[4, kind] = 0.0
        (said,) = without_costs(fault, CHARGED)
        assert said.startswith(f"1 fills {words}")
        fault.loc[4, kind] = -1.0
        assert without_costs(fault, CHARGED)[0].startswith(f"1 fills earned a {kind}")
    assert without_costs(fills.assign(slippage=0.0), CHARGED) == ["No fill slipped, though slippage is configured."]
    free = fills.assign(spread=0.0)
    assert without_costs(free, CHARGED.model_copy(update={"spread": "data"}))[0].startswith("No fill paid any spread")
    quiet = fills.assign(spread=np.where(np.arange(len(fills)) == 3, 0.0, fills["spread"]))
    assert without_costs(quiet, CHARGED.model_copy(update={"spread": "data"})) == []
    assert without_costs(free.assign(commission=0.0, slippage=0.0), costs()) == []


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
