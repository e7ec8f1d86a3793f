"""What the broker closes when equity no longer carries the margin, on candle tables whose money can be worked out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_core.backtest.result import BacktestResult
from tests.backtest.cases import FREE, broker, candles_of, config, costs, forecast_with, random_case

ENGINES = pytest.mark.parametrize("engine", ["ledger", "backtesting"])
ACCOUNT: dict[str, Any] = {"initial_cash": 1000.0, "leverage": 10.0, "margin_use": 1.0}
"""1000 USD at leverage 10: 8000 units at 1.00 use 800 of margin, and half of that must remain."""


def prices(*opens: float) -> list[list[float]]:
    """Bars that stand still at their open."""
    return [[price] * 4 for price in opens]


def held(table: Any, side: int, charged: Any = FREE, symbol: str = "EURUSD", **changes: Any) -> BacktestResult:
    """Decide 8000 units at the second close and confirm them until the fifth."""
    candles = candles_of(table, symbol)
    up = [0.7, *[0.8 if side > 0 else 0.2] * 4]
    forecast = forecast_with(up, candles.known_at[: len(up)], symbol=symbol)
    chosen = config(**{**ACCOUNT, "sizing": {"method": "fixed", "lots": 0.08}, **changes})
    return run_backtest(candles, forecast, chosen, charged, broker=broker())


@ENGINES
@pytest.mark.parametrize(
    ("side", "opens", "out"),
    [
        # Long: 1000 + 8000 (p - 1) < 0.5 x 800 p below 0.92105; short: 1000 - 8000 (p - 1) < 400 p above 1.07143.
        (1, 0.9210, True),
        (1, 0.9211, False),
        (1, 0.9000, True),
        (1, 1.0800, False),
        (-1, 1.0715, True),
        (-1, 1.0714, False),
        (-1, 1.1000, True),
        (-1, 0.9200, False),
    ],
)
def test_a_position_is_closed_at_the_open_that_leaves_less_than_half_of_its_margin(
    engine: str, side: int, opens: float, out: bool
) -> None:
    result = held(prices(1, 1, 1, 1, opens, 1, 1, 1, 1), side, engine=engine)
    first = result.trades.iloc[0]
    if out:
        assert (first.reason, first.exit_price) == ("stop_out", opens)
        assert first.exit_time == pd.Timestamp("2024-01-09 04:00", tz="UTC")
        assert first.pnl == pytest.approx(side * 8000 * (opens - 1))
    else:
        assert result.trades["reason"].tolist() == ["holding"]


@ENGINES
@pytest.mark.parametrize("side", [1, -1])
def test_the_close_pays_spread_slippage_and_commission_and_is_decided_at_its_own_price(side: int, engine: str) -> None:
    """Half a spread of 2 pips and 0.5 pips of slippage on either side; 30 per million of 8000 at 1.00 and at 0.92."""
    charged = costs(spread_pips=2.0, slippage_pips=0.5, commission_per_million=30.0)
    opens = 1 - side * 0.08
    result = held(prices(1, 1, 1, 1, opens, opens, opens, opens), side, charged, engine=engine)
    trade = result.trades.iloc[0]
    assert (trade.reason, trade.exit_price) == ("stop_out", pytest.approx(opens - side * 0.00015))
    assert trade.pnl == pytest.approx(-640 - 8000 * 0.0003 - 8000 * 30e-6 * (1 + opens))
    order = result.orders[(result.orders["position"] == 0) & (result.orders["purpose"] == "exit")].iloc[0]
    assert (order.kind, order.decided_at, order.signal_price) == ("market", trade.exit_time, opens)


@ENGINES
def test_inside_a_bar_nothing_is_judged_and_without_a_share_only_ruin_ends_it(engine: str) -> None:
    table = prices(1, 1, 1, 1, 1, 1, 1, 1, 1)
    table[4] = [1.0, 1.0, 0.90, 1.0]
    assert held(table, 1, engine=engine).trades["reason"].tolist() == ["holding"]
    deep = prices(1, 1, 1, 1, 0.90, 0.90, 0.90, 0.90, 0.90)
    assert held(deep, 1, engine=engine, stop_out=0.0).trades["reason"].tolist() == ["holding"]


def test_a_pair_in_another_currency_is_judged_in_the_accounts() -> None:
    """8000 USDJPY at 100 use 800 USD at any price; 600 of 1000 USD are lost below 8000 / 86 = 93.02."""
    for opens, reason in ((93.0, "stop_out"), (93.1, "holding")):
        result = held(prices(100, 100, 100, 100, opens, 100, 100, 100, 100), 1, symbol="USDJPY")
        assert result.trades["reason"].iloc[0] == reason
    assert held(prices(100, 100, 100, 100, 93.0, 93.0, 93.0, 93.0), 1, symbol="USDJPY").trades["pnl"].iloc[
        0
    ] == pytest.approx(-8000 * 7 / 93)


@pytest.mark.parametrize(
    ("side", "opens", "closed"),
    [
        # Equity below half a tenth of 5000 p and the 3000 of the other pair.
        (1, 0.88, []),  # 400 and 370
        (1, 0.87, ["EURUSD"]),  # 350 and 367.5; then 350 and 150
        (1, 0.82, ["EURUSD", "GBPUSD"]),  # 100, and then still below 150
        (-1, 1.11, []),  # 450 and 427.5
        (-1, 1.12, ["EURUSD"]),  # 400 and 430
        (-1, 1.18, ["EURUSD", "GBPUSD"]),
    ],
)
def test_a_portfolio_loses_its_largest_loser_first(side: int, opens: float, closed: list[str]) -> None:
    euro = candles_of(prices(1, 1, 1, 1, opens, opens, opens, opens, opens))
    pound = candles_of(prices(*[1] * 9), "GBPUSD")
    up = [0.7, *[0.8 if side > 0 else 0.2] * 3]
    parts = [
        (pound, forecast_with(up, pound.known_at[:4], symbol="GBPUSD", std=[0.01, *[0.0010 / 0.3] * 3]), FREE),
        (euro, forecast_with(up, euro.known_at[:4], std=[0.01, *[0.0010 / 0.5] * 3]), FREE),
    ]
    sizing = {"method": "inverse_volatility", "risk": 0.01}  # 3000 and 5000 at the first decision
    result = run_portfolio(parts, config(**{**ACCOUNT, "sizing": sizing}), broker=broker())
    first = result.trades.groupby("symbol").first()
    assert dict(zip(first.index, first["units"], strict=True)) == {"EURUSD": 5000, "GBPUSD": 3000}
    out = result.trades[result.trades["reason"] == "stop_out"]
    assert sorted(out["symbol"]) == closed
    assert set(out["exit_time"]) == ({pd.Timestamp("2024-01-09 04:00", tz="UTC")} if closed else set())
    assert result.equity[4] == pytest.approx(1000 + side * 5000 * (opens - 1))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), stop=st.sampled_from([None, 2.0]))
def test_engines_agree_where_the_broker_closes(seed: int, stop: float | None) -> None:
    candles, forecast = random_case(seed)
    chosen = config(BacktestConfig(), horizon="1d", confidence_quantile=0.0, history_rows=10, stop_loss=stop,
                    leverage=112.0, size_fraction=100.0, exit_before_weekend=False)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backtesting.py warns of an order refused for margin; `refused` counts them
        ours, theirs = (
            run_backtest(candles, forecast, chosen.model_copy(update={"engine": name}), costs(spread_pips=1.0))
            for name in ("ledger", "backtesting")
        )
    event(f"{(ours.trades['reason'] == 'stop_out').sum() > 0} that the broker closed some")
    assert ours.refused == theirs.refused
    pd.testing.assert_frame_equal(ours.trades, theirs.trades, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(ours.equity, theirs.equity, rtol=1e-9)
