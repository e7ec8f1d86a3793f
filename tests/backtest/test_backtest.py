"""Backtests against a literal candle table, against the own ledger, and against what must never happen."""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.signals import causal_threshold
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.calendar import is_open, week_close
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.store.asset_config import Costs

FREE = Costs.model_construct(spread_pips=0.0, commission_per_million=0.0, slippage_pips=0.0)
PLAIN = BacktestConfig(confidence_quantile=0.0, history_rows=1, exit_before_weekend=False)

# Tuesday 2024-01-09 00:00 UTC on, hourly: open, high, low, close.
TABLE = (
    (1.1000, 1.1010, 1.0990, 1.1000),  # 0 the first forecast only feeds the threshold
    (1.1000, 1.1010, 1.0990, 1.1005),  # 1 at the close: buy
    (1.1010, 1.1030, 1.1005, 1.1020),  # 2 bought at the open
    (1.1020, 1.1045, 1.1015, 1.1040),  # 3
    (1.1050, 1.1060, 1.1040, 1.1050),  # 4 two bars are over: sold at the open
    (1.1050, 1.1055, 1.1035, 1.1040),  # 5 at the close: sell
    (1.1030, 1.1035, 1.1000, 1.1005),  # 6 sold at the open
    (1.1000, 1.1020, 1.0990, 1.1010),  # 7 at the close: buy, before the two bars are over
    (1.1020, 1.1030, 1.1010, 1.1020),  # 8 bought back and bought at the open
    (1.1020, 1.1025, 1.1000, 1.1010),  # 9 last bar: closed at its close
)
SIGNALS = (0.7, 0.8, 0.5, 0.5, 0.5, 0.2, 0.5, 0.8)


def table_candles(table: Any = TABLE) -> Candles:
    prices = np.array(table)
    opens = np.datetime64("2024-01-09", "ns") + np.arange(len(TABLE)) * np.timedelta64(3600, "s")
    empty = np.full(len(TABLE), np.nan)
    return Candles("EURUSD", timeframe("1h"), "mid", opens, *prices.T.copy(), empty, empty)


def forecast_with(up: Any, decided_at: Any, horizons: tuple[int, ...] = (120,), std: float = 0.001) -> Forecast:
    """Normal forecasts whose P(up) is about `up`: (rows,)."""
    from scipy.stats import norm

    levels, rows = np.asarray(LEVELS), len(up)
    mean = np.repeat(norm.ppf(np.asarray(up))[:, None] * std, len(horizons), axis=1)
    text = np.full(rows, "v1", dtype=object)
    return Forecast(
        symbol="EURUSD", family="test", horizons=horizons, decided_at=np.asarray(decided_at),
        made_at=np.asarray(decided_at), trained_until=np.asarray(decided_at) - np.timedelta64(1, "D"),
        model_version=text, calibration_version=text, origin=np.full(rows, "fold", dtype=object), mean=mean,
        std=np.full(mean.shape, std), quantiles=mean[..., None] + std * norm.ppf(levels),
    )  # fmt: skip


def table_run(costs: Costs, **changes: Any) -> Any:
    candles = table_candles()
    config = PLAIN.model_copy(update=changes)
    return run_backtest(candles, forecast_with(SIGNALS, candles.known_at[:8]), config, costs)


@pytest.mark.parametrize("engine", ["backtesting", "ledger"])
def test_literal_table_gives_exactly_these_trades(engine: str) -> None:
    """Spread 1.1 pips at a first open of 1.1 is a share of 1e-4; commission 50 per million and side."""
    costs = Costs(spread_pips=1.1, commission_per_million=50.0)
    result = table_run(costs, engine=engine)
    trades = result.trades
    start = pd.Timestamp("2024-01-09", tz="UTC")
    hour = pd.Timedelta(hours=1)
    assert list(trades["decided_at"]) == [start + 2 * hour, start + 6 * hour, start + 8 * hour]
    assert list(trades["entry_time"]) == [start + 2 * hour, start + 6 * hour, start + 8 * hour]
    assert list(trades["exit_time"]) == [start + 4 * hour, start + 8 * hour, start + 10 * hour]
    assert list(trades["direction"]) == [1, -1, 1]
    assert list(trades["reason"]) == ["holding", "reversal", "end"]
    np.testing.assert_allclose(trades["entry_price"], [1.1010 * 1.0001, 1.1030 * 0.9999, 1.1020 * 1.0001], rtol=1e-12)
    np.testing.assert_allclose(trades["exit_price"], [1.1050, 1.1020, 1.1010], rtol=1e-12)
    # 10 000 EUR at 1.1 are 11 000 USD; 11 000 / 1.1005 = 9995.456.
    assert trades["units"][0] == 9995
    gross = [9995 * 0.0040]
    spread = [9995 * 0.00011010]
    fee = [9995 * (1.1010 * 1.0001 + 1.1050) * 50e-6]
    pnl = [gross[0] - spread[0] - fee[0]]
    # 38.98 - 1.10 = 37.78 USD later: (11 000 + pnl) / 1.1040.
    units = int((11_000 + pnl[0]) / 1.1040)
    gross.append(units * 0.0010)
    spread.append(units * 0.00011030)
    fee.append(units * (1.1030 * 0.9999 + 1.1020) * 50e-6)
    pnl.append(gross[1] - spread[1] - fee[1])
    assert trades["units"][1] == units
    np.testing.assert_allclose(trades["gross_pnl"][:2], gross, rtol=1e-9)
    np.testing.assert_allclose(trades["spread_cost"][:2], spread, rtol=1e-9)
    np.testing.assert_allclose(trades["commission"][:2], fee, rtol=1e-9)
    np.testing.assert_allclose(trades["pnl"][:2], pnl, rtol=1e-9)
    assert pnl[0] == pytest.approx(37.777, abs=1e-3)
    assert result.equity[-1] == pytest.approx(11_000 + trades["pnl"].sum(), abs=1e-8)
    assert result.metrics["trades"] == 3
    assert result.metrics["win_rate"] == pytest.approx(2 / 3)
    assert result.status == "traded"
    json.dumps(result.summary(), allow_nan=False)


def test_without_costs_net_is_gross() -> None:
    result = table_run(FREE)
    np.testing.assert_allclose(result.trades["pnl"], result.trades["gross_pnl"], atol=1e-9)
    assert result.costs["spread_paid"] == 0
    assert result.costs["commission_paid"] == 0


@pytest.mark.parametrize("engine", ["backtesting", "ledger"])
def test_stop_is_taken_before_the_target_in_one_bar(engine: str) -> None:
    """Decided at 1.1005 with a forecast std of 0.1 %: one std below and above are 1.09940 and 1.10160."""
    target_only = table_run(FREE, engine=engine, take_profit=1.0).trades
    assert target_only["reason"][0] == "target"
    assert target_only["exit_price"][0] == pytest.approx(1.1005 * np.exp(0.001))
    assert target_only["bars_held"][0] == 0
    deep = [list(row) for row in TABLE]
    deep[2][2] = 1.0980  # now bar 2 touches both
    candles = table_candles(deep)
    config = PLAIN.model_copy(update={"engine": engine, "stop_loss": 1.0, "take_profit": 1.0})
    both = run_backtest(candles, forecast_with(SIGNALS, candles.known_at[:8]), config, FREE).trades
    assert both["reason"][0] == "stop"
    assert both["exit_price"][0] == pytest.approx(1.1005 * np.exp(-0.001))


def random_case(seed: int, bars: int = 400) -> tuple[Candles, Forecast]:
    rng = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(rng.standard_normal(bars) * 0.001))
    start = np.r_[1.1, close[:-1]] * np.exp(rng.standard_normal(bars) * 0.0003)
    reach = np.abs(rng.standard_normal((2, bars))) * 0.0008
    empty = np.full(bars, np.nan)
    opens = np.datetime64("2024-01-09", "ns") + np.arange(bars) * np.timedelta64(3600, "s")
    candles = Candles(
        "EURUSD", timeframe("1h"), "mid", opens, start, np.maximum(start, close) * (1 + reach[0]),
        np.minimum(start, close) * (1 - reach[1]), close, empty, empty,
    )  # fmt: skip
    rows = np.sort(rng.choice(bars, bars // 2, replace=False))
    return candles, forecast_with(rng.uniform(0.2, 0.8, len(rows)), candles.known_at[rows], (60, 240, 1440))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    stop=st.sampled_from([None, 0.5, 1.5]),
    target=st.sampled_from([None, 0.4, 1.5]),
    horizon=st.sampled_from(["1h", "4h", "1d"]),
    weekend=st.booleans(),
    size=st.sampled_from([0.2, 1.0, 20.0]),
)
def test_engines_agree_trade_for_trade(
    seed: int, stop: float | None, target: float | None, horizon: str, weekend: bool, size: float
) -> None:
    candles, forecast = random_case(seed)
    config = BacktestConfig(
        horizon=horizon, confidence_quantile=0.5, history_rows=20, stop_loss=stop, take_profit=target,
        exit_before_weekend=weekend, size_fraction=size,
    )  # fmt: skip
    costs = Costs(spread_pips=1.0, commission_per_million=30, slippage_pips=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an order that the broker refuses would be a warning
        ours, theirs = (
            run_backtest(candles, forecast, config.model_copy(update={"engine": name}), costs)
            for name in ("ledger", "backtesting")
        )
    assert len(ours.trades) > 10
    pd.testing.assert_frame_equal(ours.trades, theirs.trades, rtol=1e-9)
    np.testing.assert_allclose(ours.equity, theirs.equity, rtol=1e-9)
    assert ours.equity[-1] == pytest.approx(ours.initial_cash + ours.trades["pnl"].sum(), rel=1e-9)
    assert (ours.trades["entry_time"] >= ours.trades["decided_at"]).all()
    if weekend:
        entries, exits = (ours.trades[name].dt.tz_localize(None).to_numpy() for name in ("entry_time", "exit_time"))
        assert (is_open(entries) & (exits <= week_close(entries))).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 5.0))
def test_a_wider_spread_never_helps(seed: int, spread: float) -> None:
    candles, forecast = random_case(seed)
    config = BacktestConfig(history_rows=10, engine="ledger")
    ends = [
        run_backtest(candles, forecast, config, Costs(spread_pips=factor * spread)).metrics["return"]
        for factor in (1, 2, 4)
    ]
    assert ends[0] >= ends[1] >= ends[2]  # type: ignore[operator]


def test_future_bars_and_forecasts_change_no_earlier_trade() -> None:
    candles, forecast = random_case(3)
    config = BacktestConfig(history_rows=20)
    whole = run_backtest(candles, forecast, config, Costs()).trades
    cut = candles.known_at[250]
    early = run_backtest(candles.until(cut), forecast.take(forecast.decided_at <= cut), config, Costs()).trades
    settled = whole[whole["exit_time"] < pd.Timestamp(cut, tz="UTC") - pd.Timedelta(hours=8)]
    assert len(settled) > 10
    pd.testing.assert_frame_equal(settled, early.iloc[: len(settled)])


def test_threshold_looks_only_back() -> None:
    values = np.array([0.9, 0.5, 0.6, 0.7, 0.8])
    np.testing.assert_array_equal(causal_threshold(values, 0.5, 2), [np.inf, np.inf, 0.5, 0.6, 0.6])


def test_symmetric_forecasts_trade_nothing() -> None:
    candles, _ = random_case(1)
    result = run_backtest(candles, forecast_with(np.full(300, 0.5), candles.known_at[:300]), PLAIN, Costs())
    assert result.status == "n/a: no direction"
    assert result.trades.empty
    assert result.metrics["return"] == 0
    json.dumps(result.summary(), allow_nan=False)


def test_too_short_a_history_gives_no_trades() -> None:
    candles, forecast = random_case(1)
    result = run_backtest(candles, forecast, BacktestConfig(history_rows=1000), Costs())
    assert result.status == "no trades"


def test_what_cannot_be_traded_says_why() -> None:
    from dataclasses import replace

    candles, forecast = random_case(1)
    raw = replace(forecast, calibration_version=np.full(len(forecast), "", dtype=object))
    with pytest.raises(DataError, match="calibrate them"):
        run_backtest(candles, raw, PLAIN, Costs())
    with pytest.raises(DataError, match="fit no bar"):
        run_backtest(candles.take(slice(0, 100)), forecast, PLAIN, Costs())
    with pytest.raises(ValueError, match="size_fraction"):
        BacktestConfig(size_fraction=40, leverage=30)


def test_real_bars_with_perfect_foresight_win_and_with_coin_flips_do_not(capfd: pytest.CaptureFixture[str]) -> None:
    candles = sample_candles()
    ahead = np.r_[np.log(candles.close[4:] / candles.close[:-4]), np.zeros(4)]
    known = forecast_with(np.where(ahead > 0, 0.7, 0.3), candles.known_at, (60, 240, 1440))
    flips = np.random.default_rng(0).choice([0.3, 0.7], len(candles))
    began = time.perf_counter()
    won = run_backtest(candles, known, BacktestConfig(), Costs())
    seconds = time.perf_counter() - began
    chance = run_backtest(candles, forecast_with(flips, candles.known_at, (60, 240, 1440)), BacktestConfig(), Costs())
    assert won.metrics["return"] > 0.5  # type: ignore[operator]
    assert won.metrics["random_direction_p"] < 0.01  # type: ignore[operator]
    assert won.intervals["sharpe"][0] > 3  # type: ignore[index]
    assert chance.metrics["return"] < 0  # type: ignore[operator]
    assert chance.metrics["random_direction_p"] > 0.01  # type: ignore[operator]
    assert seconds < 5
    assert capfd.readouterr() == ("", "")
