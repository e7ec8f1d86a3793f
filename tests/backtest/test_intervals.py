"""How sure figures are: intervals against loops that resample days and their trades one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.intervals import OF_CURVE, OF_TRADES, bootstrap_intervals
from fxgpt_core.backtest.metrics import curve_metrics, day_ends, trade_metrics
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import config, random_case

DRAWS, BLOCK, LEVEL, SEED = 120, 5, 0.9, 7


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    candles, forecast = random_case(5, bars=1500)
    chosen = config(BacktestConfig(), history_rows=10, horizon="4h", confidence_quantile=0.6)
    return run_backtest(candles, forecast, chosen, Costs(spread_pips=0.5))


def resampled(result: BacktestResult) -> pd.DataFrame:
    """One row of figures per draw, by `curve_metrics` on daily closings and `trade_metrics` on the days' trades."""
    ends, _ = day_ends(result.known_at)
    closings, daily = result.known_at[ends], result.daily
    ended = result.trades["exit_time"].dt.tz_localize(None).to_numpy().astype("M8[ns]")
    day = np.searchsorted(closings, ended)
    starts = np.random.default_rng(SEED).integers(0, len(daily), (DRAWS, -(-len(daily) // BLOCK)))
    rows = []
    for draw in starts:
        days = [(first + step) % len(daily) for first in draw for step in range(BLOCK)][: len(daily)]
        equity = result.initial_cash * np.cumprod(1 + daily[days])
        times = np.linspace(0, 1, len(days)) * (result.known_at[-1] - result.known_at[0]) + result.known_at[0]
        drawn = pd.concat([result.trades[day == one] for one in days])
        curve = curve_metrics(times, equity, result.initial_cash, np.arange(len(days)))
        rows.append({**curve, **trade_metrics(drawn, len(result.known_at))})
    return pd.DataFrame(rows)


def test_every_figure_has_the_interval_of_its_resampled_days(result: BacktestResult) -> None:
    found = bootstrap_intervals(
        result.known_at, result.equity, result.initial_cash, result.trades, DRAWS, BLOCK, LEVEL, SEED
    )
    wanted = resampled(result)
    assert set(found) == {*OF_CURVE, *OF_TRADES} == set(wanted)
    for name, interval in found.items():
        values = wanted[name].dropna().to_numpy(dtype=np.float64)
        assert interval == pytest.approx(np.quantile(values, [0.05, 0.95]), rel=1e-6), name
        value = result.metrics[name]
        assert value is not None
        if name != "max_drawdown":  # of daily closings, while the figure sees every bar
            assert interval is not None
            assert interval[0] <= value <= interval[1], name


def test_a_short_record_and_one_without_trades_have_no_intervals(result: BacktestResult) -> None:
    few = result.known_at[:300]
    short = bootstrap_intervals(few, result.equity[:300], 1e4, result.trades.iloc[:5], DRAWS, BLOCK, LEVEL, SEED)
    assert set(short.values()) == {None}
    none = bootstrap_intervals(result.known_at, result.equity, 1e4, result.trades.iloc[:0], DRAWS, BLOCK, LEVEL, SEED)
    assert set(none.values()) == {None}


def test_a_figure_that_most_draws_lack_has_no_interval(result: BacktestResult) -> None:
    """Without a losing trade there is no profit factor and no average loss; the share of winners is certain."""
    winners = result.trades.assign(pnl=result.trades["pnl"].abs() + 1.0)
    found = bootstrap_intervals(result.known_at, result.equity, 1e4, winners, DRAWS, BLOCK, LEVEL, SEED)
    assert found["profit_factor"] is None
    assert found["average_loss"] is None
    assert found["win_rate"] == (1.0, 1.0)
