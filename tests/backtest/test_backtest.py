"""Backtests against what must always hold: two engines, costs, causality, and what a strategy cannot earn."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.backtest.adapter import Broker, run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.layout import PATH
from fxgpt_core.backtest.signals import causal_threshold
from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.market.calendar import is_open, week_close
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import FREE, PLAIN, config, costs, forecast_with, random_case
from tests.speed import computed_within

METHODS = ("fixed", "percent", "inverse_volatility", "kelly", "risk", "shrink")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    stop=st.sampled_from([0.5, 1.5]),
    target=st.sampled_from([None, 0.4, 1.5]),
    trail=st.sampled_from([None, 0.7, 2.0]),
    horizon=st.sampled_from(["1h", "4h", "1d"]),
    longest=st.sampled_from([None, "6h"]),
    weekend=st.booleans(),
    switches=st.booleans(),
    lot=st.sampled_from([None, 1]),
    size=st.sampled_from([0.2, 1.0, 20.0]),
    method=st.sampled_from(METHODS),
    spread=st.sampled_from([0.2, 1.0, 3.0]),
)
def test_engines_agree_trade_for_trade(
    seed: int, stop: float, target: float | None, trail: float | None, horizon: str, longest: str | None,
    weekend: bool, switches: bool, lot: int | None, size: float, method: str, spread: float,
) -> None:  # fmt: skip
    """Constant spread, no swap, an account in the quote currency: what backtesting.py has a model for."""
    candles, forecast = random_case(seed)
    chosen = config(
        BacktestConfig(), horizon=horizon, confidence_quantile=0.5, history_rows=20, stop_loss=stop, take_profit=target,
        trailing_stop=trail, max_holding=longest, exit_before_weekend=weekend, exit_on_opposite=switches, lot_units=lot,
        size_fraction=size, sizing={"method": method},
    )  # fmt: skip
    charged = costs(spread_pips=spread, commission_per_million=30, slippage_pips=0.0 if target else 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backtesting.py warns of an order refused for margin; `refused` counts them
        ours, theirs = (
            run_backtest(candles, forecast, chosen.model_copy(update={"engine": name}), charged)
            for name in ("ledger", "backtesting")
        )
    assert len(ours.trades) + ours.refused["too_small"] > 0
    pd.testing.assert_frame_equal(ours.trades, theirs.trades, rtol=1e-9, atol=1e-9)
    pd.testing.assert_frame_equal(ours.fills, theirs.fills, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.equity, theirs.equity, rtol=1e-9)
    assert ours.refused == theirs.refused


def test_backtesting_py_refuses_what_it_cannot_model() -> None:
    candles, forecast = random_case(1)
    theirs = config(BacktestConfig(), engine="backtesting", history_rows=1, exit_before_weekend=False, horizon="1d")
    for charged, at, words in (
        (costs(spread="sessions", spread_pips=1.0), Broker.shipped(), "a spread that changes"),
        (costs(swap=True), Broker.shipped(), "swap"),
        (costs(slippage_volatility=0.1), None, "slippage that changes"),
    ):
        with pytest.raises(BadInputError, match=rf"cannot model {words}"):
            run_backtest(candles, forecast, theirs, charged, broker=at)
    yen, forecast = random_case(1, symbol="USDJPY", price=145.0)
    with pytest.raises(BadInputError, match=r"another currency than the pair's quote: set backtest.engine to ledger"):
        run_backtest(yen, forecast, theirs, FREE)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(METHODS))
def test_without_costs_net_is_gross(seed: int, method: str) -> None:
    candles, forecast = random_case(seed)
    chosen = config(BacktestConfig(), history_rows=10, stop_loss=1.0, sizing={"method": method})
    result = run_backtest(candles, forecast, chosen, FREE)
    np.testing.assert_allclose(result.trades["pnl"], result.trades["gross_pnl"], atol=1e-9)
    paid = {name: value for name, value in result.costs.items() if name.endswith("_paid")}
    assert set(paid.values()) == {0.0}
    np.testing.assert_allclose(result.equity[-1], result.initial_cash + result.trades["gross_pnl"].sum())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 5.0), symbol=st.sampled_from(["EURUSD", "USDJPY"]))
def test_a_wider_spread_never_helps(seed: int, spread: float, symbol: str) -> None:
    """With a fixed size, so that the trades stay the same; without stops, which a wider spread touches sooner."""
    candles, forecast = random_case(seed, symbol=symbol, price=1.1 if symbol == "EURUSD" else 145.0)
    chosen = config(BacktestConfig(), history_rows=10, sizing={"method": "fixed", "lots": 0.05})
    runs = [run_backtest(candles, forecast, chosen, Costs(spread_pips=factor * spread)) for factor in (1, 2, 4)]
    assert len({len(run.trades) for run in runs}) == 1
    for narrow, wide in pairwise(runs):
        assert (wide.equity <= narrow.equity + 1e-9).all()
        assert (wide.trades["pnl"] < narrow.trades["pnl"]).all()


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000), symbol=st.sampled_from(["EURUSD", "USDJPY"]), method=st.sampled_from(METHODS[:5])
)  # fmt: skip
def test_equity_is_cash_plus_what_was_earned_less_every_cost_at_each_bar(seed: int, symbol: str, method: str) -> None:
    candles, forecast = random_case(seed, symbol=symbol, price=1.1 if symbol == "EURUSD" else 145.0)
    chosen = config(BacktestConfig(), history_rows=10, stop_loss=1.0, trailing_stop=1.5, sizing={"method": method},
                    exit_before_weekend=False, initial_cash=100_000)  # fmt: skip
    charged = Costs(spread_pips=1.2, slippage_pips=0.1, slippage_volatility=0.05)
    result = run_backtest(candles, forecast, chosen, charged)
    assert result.path is not None
    cash, gross, spread, slippage, commission, swap = result.path.T
    assert PATH == ("cash", "gross", "spread", "slippage", "commission", "swap")
    np.testing.assert_allclose(result.equity, 100_000 + gross - spread - slippage - commission + swap, rtol=1e-11)
    for earlier in (spread, slippage, commission):
        assert earlier[0] == 0
    trades = result.trades
    for name, column in (("spread_cost", 2), ("slippage_cost", 3), ("commission", 4), ("swap", 5), ("gross_pnl", 1)):
        assert trades[name].sum() == pytest.approx(result.path[-1, column], rel=1e-9, abs=1e-9)
    net = trades.gross_pnl - trades.spread_cost - trades.slippage_cost - trades.commission + trades.swap
    np.testing.assert_allclose(net, trades.pnl, atol=1e-9)
    assert cash[-1] == pytest.approx(result.equity[-1])
    assert (trades.entry_time >= trades.decided_at).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_position_before_the_first_forecast_and_none_over_the_weekend(seed: int) -> None:
    candles, forecast = random_case(seed)
    late = forecast.take(forecast.decided_at > candles.known_at[100])
    trades = run_backtest(candles, late, config(BacktestConfig(), history_rows=1), Costs()).trades
    assert trades.entry_time.min() >= pd.Timestamp(late.decided_at[0], tz="UTC")
    entries, exits = (trades[name].dt.tz_localize(None).to_numpy() for name in ("entry_time", "exit_time"))
    assert (is_open(entries) & (exits <= week_close(entries))).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(250, 350), method=st.sampled_from(METHODS))
def test_the_future_changes_nothing_before_it(seed: int, cut: int, method: str) -> None:
    """Every bar after the cut is moved and its forecasts are turned round: what was settled before stays."""
    candles, forecast = random_case(seed)
    chosen = config(BacktestConfig(), history_rows=20, horizon="4h", stop_loss=1.0, sizing={"method": method})
    moved = np.where(np.arange(len(candles)) > cut, 1.07, 1.0)
    other = replace(candles, **{name: getattr(candles, name) * moved for name in ("open", "high", "low", "close")})
    after = (forecast.decided_at > candles.known_at[cut])[:, None]
    turned = replace(
        forecast, mean=np.where(after, -forecast.mean, forecast.mean),
        quantiles=np.where(after[..., None], -forecast.quantiles[..., ::-1], forecast.quantiles),
    )  # fmt: skip
    charged = Costs(slippage_volatility=0.1)
    whole, changed = (run_backtest(c, f, chosen, charged) for c, f in ((candles, forecast), (other, turned)))
    known = np.searchsorted(whole.known_at, candles.known_at[cut], side="right")
    np.testing.assert_array_equal(whole.equity[:known], changed.equity[:known])
    settled = whole.trades[whole.trades.exit_time <= pd.Timestamp(candles.known_at[cut], tz="UTC")]
    settled = settled[settled.exit_time < settled.exit_time.max()]
    assert len(settled) > 2
    pd.testing.assert_frame_equal(settled, changed.trades.iloc[: len(settled)])


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
    candles, forecast = random_case(1)
    raw = replace(forecast, calibration_version=np.full(len(forecast), "", dtype=object))
    with pytest.raises(DataError, match="calibrate them"):
        run_backtest(candles, raw, BacktestConfig(), Costs())
    with pytest.raises(DataError, match="fit no bar"):
        run_backtest(candles.take(slice(0, 100)), forecast, BacktestConfig(), Costs())
    with pytest.raises(ValueError, match="size_fraction"):
        BacktestConfig(size_fraction=40, leverage=30)


def test_real_bars_with_perfect_foresight_win_and_with_coin_flips_do_not(capfd: pytest.CaptureFixture[str]) -> None:
    candles = sample_candles()
    ahead = np.r_[np.log(candles.close[4:] / candles.close[:-4]), np.zeros(4)]
    known = forecast_with(np.where(ahead > 0, 0.7, 0.3), candles.known_at, (60, 240, 1440))
    flips = np.random.default_rng(0).choice([0.3, 0.7], len(candles))
    with computed_within(5):
        won = run_backtest(candles, known, BacktestConfig(), Costs())
    chance = run_backtest(candles, forecast_with(flips, candles.known_at, (60, 240, 1440)), BacktestConfig(), Costs())
    assert won.metrics["return"] > 0.5  # type: ignore[operator]
    assert won.metrics["random_direction_p"] < 0.01  # type: ignore[operator]
    assert won.intervals["sharpe"][0] > 3  # type: ignore[index]
    assert chance.metrics["return"] < 0  # type: ignore[operator]
    assert chance.metrics["random_direction_p"] > 0.01  # type: ignore[operator]
    assert capfd.readouterr() == ("", "")
